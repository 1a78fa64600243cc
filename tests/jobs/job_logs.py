"""Waiting for what a job does, with its log at hand when it does not."""

import time


def wait_for(done, work):
    """Wait until ``done()``; fail on an error in the logs below ``work``, or after five minutes."""
    deadline = time.monotonic() + 300
    while not done():
        said = "\n".join(path.read_text() for path in sorted((work / "jobs").rglob("*.log")))
        assert time.monotonic() < deadline and "\nerror: " not in said, said
        time.sleep(0.5)
