"""The tests that multiply matrices, once for each OpenBLAS kernel that this processor can run.

    python scripts/test_blas_kernels.py [--threads 1 2] [--kernels Haswell SkylakeX]

Kernels round differently, and only the one that a processor gets is ever tested by chance. Each run
is a process of its own, which asks the loaded library for its kernel before it tests anything: a
name that the library does not take is listed as skipped, never counted. Exit code 1 when a test
fails, or when no more than one kernel could be tried.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mtn_core.blas import CORETYPE_VARIABLE, KERNELS, read_processor, runnable_kernels

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/metrics/test_retrieval.py",
    "tests/metrics/test_ranking.py",
    "tests/metrics/test_rerank.py",
    "tests/metrics/test_expansion.py",
    "tests/results/test_ranking.py",
)
OTHER_KERNEL = 77
CHILD = f"""
import sys
import numpy, pytest, threadpoolctl
kernel, threads, *tests = sys.argv[1:]
found = [p for p in threadpoolctl.threadpool_info()
         if p["internal_api"] == "openblas" and p["filepath"].startswith(numpy.__path__[0])]
for pool in found:
    print(f"{{pool['architecture']}}, {{pool['num_threads']}} threads", flush=True)
if [(p["architecture"].lower(), p["num_threads"]) for p in found] != [(kernel, int(threads))]:
    sys.exit({OTHER_KERNEL})
sys.exit(pytest.main([*tests, "-n", "0", "--no-header", "-p", "no:cacheprovider"]))
"""


def run_tests(kernel: str, threads: int) -> tuple[int, str]:
    variables = {
        CORETYPE_VARIABLE: kernel,
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), os.getenv("PYTHONPATH")))),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kernel.lower(), str(threads), *TESTS],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=list(KERNELS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    args = parser.parse_args()
    processor = read_processor()
    runnable = runnable_kernels(processor)
    print(f"{processor.name}: {', '.join(runnable) or 'no kernel known here'}")
    tried, failed = set(), []
    for kernel in args.kernels:
        if kernel not in runnable:
            print(f"{kernel}: not run, this processor lacks its instructions")
            continue
        for threads in args.threads:
            code, output = run_tests(kernel, threads)
            lines = output.strip().splitlines() or [""]
            if code == OTHER_KERNEL:
                print(f"{kernel}, {threads} threads: not run, NumPy's library took {lines[0]}")
                continue
            tried.add(kernel)
            print(f"{kernel}, {threads} threads: {lines[-1].strip('= ')}", flush=True)
            if code:
                failed.append(f"{kernel}, {threads} threads")
                print(output)
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
    elif len(tried) < min(2, len(args.kernels)):
        print("fewer than two kernels could be tried", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
