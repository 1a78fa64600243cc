"""A full disk names the file and leaves nothing behind, and what was there stays."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk_job import ROWS

pytestmark = pytest.mark.slow
JOB = Path(__file__).with_name("full_disk_job.py")
MOUNT = ["unshare", "--map-root-user", "--mount"]
# The place that the error must name.
NAMED = {
    "350": "full/a/b/veri",
    "365": "full/t/ckpt/epoch-001.ckpt",
    "371": "full/t/ckpt/last.ckpt",
    "392": "full/e",
    "401": "full/r.html",
    "408": "full/c.ckpt",
    "410": "full/s.html",
    "412": r"full/x/veri/\w+_query",
    "preprocess,": "full/lab",
}


def can_mount() -> bool:
    """Whether this user may mount a disk that nobody else sees."""
    if shutil.which("unshare") is None:
        return False
    mount = [*MOUNT, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def outcome(given, tmp_path_factory):
    """What came of every row: one process runs them all."""
    folder = tmp_path_factory.mktemp("full")
    mount = can_mount()
    command = [sys.executable, str(JOB), str(given), str(folder), "mount" if mount else "limit"]
    done = subprocess.run(
        [*(MOUNT if mount else []), *command],
        capture_output=True,
        text=True,
        env={**os.environ, "GLOG_v": "3", "TQDM_DISABLE": "1", "MPLBACKEND": "Agg"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Exception ignored" not in done.stderr, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ROWS)
def test_row(outcome, name):
    if name not in outcome:
        pytest.skip("nobody may mount a disk here, and no limit on file sizes stands for it")
    got = outcome[name]
    assert got["code"] == 1, got["said"]
    assert "Traceback" not in got["said"] and "This is a bug" not in got["said"]
    (line,) = [line for line in got["said"].splitlines() if line.startswith("error: ")]
    named = NAMED[name.split()[0]]
    full = "(No space left on device|File too large)"
    assert re.match(f"error: cannot write (to )?{named}: {full}", line), line
    assert "another disk" in line
    if name.startswith("371"):  # the first checkpoint is whole, and a training goes on from it
        assert not [path for path in got["after"] if "/." in path or path.endswith(".tmp")]
        assert got["after"]["t/ckpt/last.ckpt"] > 10**8
    else:
        assert got["after"] == got["before"]
