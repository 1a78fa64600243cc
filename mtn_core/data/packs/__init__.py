"""Splits packed in MindRecord files, for fast reading."""
