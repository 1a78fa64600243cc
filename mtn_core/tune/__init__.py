"""A search over recipes: trials are run folders, scored on vehicles that are held out of training.

Optuna chooses the values and keeps the study; the training knows nothing of it.
"""
