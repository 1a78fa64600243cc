"""A gallery that grows: crops without labels, kept with camera and time, filtered, searched.

:mod:`mtn_core.gallery.store` keeps and searches, :mod:`mtn_core.gallery.embedder` makes what is
kept. Neither needs MindSpore unless the model is a checkpoint.
"""
