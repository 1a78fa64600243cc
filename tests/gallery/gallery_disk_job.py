"""Run by test_faults.py in a mount namespace: a gallery on a disk that becomes full.

python gallery_disk_job.py FOLDER prints a JSON object of what came of it.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_batch, make_features, make_info

from mtn_core.errors import DiskError
from mtn_core.gallery.store import Gallery

STEP = 2000


def fill(path: Path) -> dict:
    """Add until the disk is full, and look at what is there."""
    gallery = Gallery.create(path / "city", make_info())
    safe, said = 0, ""
    while not said:
        try:
            gallery.add(make_batch(safe, STEP))
            safe += STEP
        except DiskError as error:
            said = str(error)
    again = Gallery.open(path / "city")
    (hits,) = again.search(make_features(safe - 1, 1), top=1)
    return {
        "error": said,
        "safe": safe,
        "count": len(again),
        "files": again.backend.verify(),
        "found": hits[0].name,
    }


def create(path: Path) -> dict:
    """Make a gallery where there is no room at all."""
    try:
        Gallery.create(path / "none", make_info())
    except DiskError as error:
        return {"error": str(error), "left": sorted(p.name for p in path.iterdir())}
    return {"error": "none"}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    outcome = {}
    for name, size, run in (("fill", "4m", fill), ("create", "4k", create)):
        disk = folder / name
        disk.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        subprocess.run(["mount", *options], check=True)
        outcome[name] = run(disk)
    print(json.dumps(outcome))
