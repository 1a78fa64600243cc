"""Programs beside Python: compiler, MindSpore Lite, browser."""

import os
import shutil
from pathlib import Path

from mtn_core.doctor.finding import Finding, ProbeError, run

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_COMPILER = ("g++", "cmake", "make")


def check_compiler() -> Finding:
    """What builds the C++ program."""
    places = {name: shutil.which(name) for name in _COMPILER}
    absent = [name for name, place in places.items() if place is None]
    found = ", ".join(place for place in places.values() if place) or "none"
    if not absent:
        return Finding("C++", "ok", found)
    lack = f"{', '.join(absent)}, for the C++ program of the Ascend 310"
    return Finding("C++", "missing", found, (lack,), (f"apt-get install {' '.join(absent)}",))


def check_lite(checkout: Path | None = None) -> Finding:
    """MindSpore Lite, as ``scripts/fetch_mindspore_lite.sh`` leaves it.

    Args:
        checkout: The repository; by default the one that this package lies in.
    """
    checkout = checkout or Path(__file__).resolve().parents[2]
    script = checkout / "scripts" / "fetch_mindspore_lite.sh"
    lack = "the runtime of the C++ program on a CPU"
    if not script.is_file():
        home = os.environ.get("LITE_HOME")
        if home and Path(home).is_dir():
            return Finding("Lite runtime", "ok", home)
        mend = "run scripts/fetch_mindspore_lite.sh of a checkout, or set LITE_HOME"
        return Finding("Lite runtime", "missing", "no checkout, no LITE_HOME", (lack,), (mend,))
    try:
        place = run(["bash", str(script), "--no-download"]).strip()
    except ProbeError as error:
        mend = "bash scripts/fetch_mindspore_lite.sh"
        return Finding("Lite runtime", "missing", str(error), (lack,), (mend,))
    return Finding("Lite runtime", "ok", place)


def check_browser() -> Finding:
    """A browser without a screen: pictures of reports, and the tests of their pages."""
    place = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if place:
        return Finding("Chromium", "ok", place)
    lack = "for pictures of reports (scripts/screenshot.py) and the tests of their pages"
    return Finding("Chromium", "missing", "none", (lack,), ("apt-get install chromium",))
