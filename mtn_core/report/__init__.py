"""Offline HTML pages: retrieval reports, executed notebooks, and the indexes that list them."""
