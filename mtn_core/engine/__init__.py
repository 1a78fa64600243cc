"""Where state lives: devices, the training loop, checkpoints, embeddings of a split."""
