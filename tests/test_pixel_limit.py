"""The limit of a picture's pixels: a default, the environment, the configuration."""

import os
import subprocess
import sys

import pytest

from mtn_core.config import load_config
from mtn_core.errors import ConfigError
from mtn_core.pixel_limit import MAX_PIXELS, limited_pixels, max_pixels
from mtn_core.pose.config import PoseConfig

SCHEMAS = [("smoke", {}), ("pose_smoke", {"schema": PoseConfig})]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("MTN_MAX_PIXELS", raising=False)


@pytest.mark.parametrize("recipe, schema", SCHEMAS)
def test_the_key_is_resolved(recipe, schema, monkeypatch):
    def resolved(**values):
        overrides = {f"data.{key}": value for key, value in values.items()}
        return load_config(recipe, overrides, **schema).data.max_pixels

    assert resolved() == MAX_PIXELS == 50_000_000
    monkeypatch.setenv("MTN_MAX_PIXELS", "123")
    assert resolved() == 123  # what a command without --set goes by
    assert resolved(max_pixels=1000) == 1000
    for wrong in (0, -1, 2**30 + 1, True, "many", 1.5, float("inf")):
        with pytest.raises(ConfigError, match=r"data\.max_pixels"):
            resolved(max_pixels=wrong)
    monkeypatch.setenv("MTN_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="MTN_MAX_PIXELS must be"):
        resolved()


def test_a_block_has_a_limit_of_its_own_and_so_have_its_processes(monkeypatch):
    show = [sys.executable, "-c", "from mtn_core.pixel_limit import *; print(max_pixels())"]
    with limited_pixels(7):
        assert max_pixels() == 7
        assert subprocess.run(show, capture_output=True, text=True, check=True).stdout == "7\n"
    assert "MTN_MAX_PIXELS" not in os.environ
    monkeypatch.setenv("MTN_MAX_PIXELS", "9")
    with pytest.raises(KeyError), limited_pixels(7):
        raise KeyError
    assert max_pixels() == 9
