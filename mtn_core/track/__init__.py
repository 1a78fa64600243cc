"""Run folders for the trackers that people already look at: TensorBoard and MLflow.

Both read what a run has written; the training knows nothing of them. A second call adds what is
new.
"""
