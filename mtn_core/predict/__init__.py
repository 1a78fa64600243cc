"""Networks run over images: embeddings, evaluation, attention."""
