"""Offline HTML pages: retrieval reports, executed notebooks, and the indexes that list them."""

from mtn_core.report.build import write_report

__all__ = ["write_report"]
