"""What a run leaves, and reading it; never mindspore."""

from mtn_core.results.embeddings import Embeddings
from mtn_core.results.retrieval import RetrievalResult

__all__ = ["Embeddings", "RetrievalResult"]
