"""Bars: shown to somebody who looks, never where the environment forbids them."""

import io
import sys

from mtn_core.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, value):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TQDM_DISABLE", value)
    bar = progress_bar(range(3))
    is_shown = not bar.disable
    bar.close()
    return is_shown


def test_the_variable_of_tqdm_silences_every_bar(monkeypatch):
    assert shown(monkeypatch, "0")
    assert not shown(monkeypatch, "1")
