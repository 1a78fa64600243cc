"""Run under msrun by test_trials_jobs.py: python -m ending_job RANK SIGNAL ends that rank."""

import os
import sys
import time

from mtn_core.device import setup_device

if __name__ == "__main__":
    rank, number = map(int, sys.argv[1:])
    if setup_device("CPU", distribute=True).rank == rank:
        os.kill(os.getpid(), number)
    time.sleep(300)
