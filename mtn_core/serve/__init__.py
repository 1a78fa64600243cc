"""``mtn serve``: a page in the browser that searches a gallery.

The model runs in onnxruntime; MindSpore is never imported. Nothing of what is uploaded is kept.
"""
