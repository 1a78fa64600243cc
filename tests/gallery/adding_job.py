"""Run by test_faults.py: adds made-up crops to a gallery and says after each batch that it is safe.

python adding_job.py GALLERY START COUNT STEP MOMENT prints the number behind every batch.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_batch

from mtn_core.gallery.store import Gallery

if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    start, count, step = map(int, numbers[:3])
    gallery = Gallery.open(path)
    time.sleep(max(0.0, float(numbers[3]) - time.time()))
    for first in range(start, start + count, step):
        gallery.add(make_batch(first, step))
        print(first + step, flush=True)
