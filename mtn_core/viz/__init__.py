"""Matplotlib figures that take an ``ax`` and return it; rank lists; the notebook browser.

Nothing here imports mindspore, changes global settings or calls ``plt.show()``.
"""
