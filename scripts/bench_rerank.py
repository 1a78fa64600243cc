"""k-reciprocal re-ranking at the size of VeRi: the sparse form beside the dense published one.

Each form runs in a process of its own, evaluation included. Prints a table and, as the last line,
JSON. Needs 5 GB of memory; ``--scale 0.25`` makes it a quarter of VeRi.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

from mtn_core.environment import guard_environment

guard_environment()  # before NumPy is loaded

import numpy as np
from bench_metrics import (
    SIGNALS,
    VERI_LABELS,
    make_embeddings,
    peak_memory,
    random_ids,
    veri_ids,
)

from mtn_core.metrics.rerank import rerank
from mtn_core.metrics.retrieval import evaluate, evaluate_blocks

DENSE = Path(__file__).resolve().parents[1] / "tests" / "metrics" / "rerank_dense.py"


def run(form: str, args: argparse.Namespace) -> dict:
    rng = np.random.default_rng(0)
    ids = veri_ids(args.labels) or random_ids(1678, 11579, 200, 20, rng)
    keep = [slice(None, int(len(i) * args.scale)) for i in ids]
    ids = [i[k] for i, k in zip(ids, keep, strict=True)]
    query, gallery = (make_embeddings(p, 1024, SIGNALS["trained"], rng) for p in ids[:2])
    rerank_dense = load_rerank_dense()
    result = {"form": form, "shape": [len(query), len(gallery), 1024]}

    def work() -> None:
        if form == "dense":
            distances = rerank_dense(query, gallery)
            order = np.argsort(distances, axis=1, kind="stable")
            result["mAP"] = _mean_ap(order, *ids)
        else:
            result["mAP"] = evaluate_blocks(rerank(query, gallery), *ids).mAP

    start = time.perf_counter()
    result["peak_MB"] = peak_memory(work) / 1e6
    result["seconds"] = time.perf_counter() - start
    result["mAP_plain"] = evaluate(query, gallery, *ids).mAP
    return result


def load_rerank_dense():
    """The published form, which the tests hold the sparse one to."""
    specification = importlib.util.spec_from_file_location("rerank_dense", DENSE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.rerank_dense


def _mean_ap(order, q_pids, g_pids, q_camids, g_camids) -> float:
    values = []
    for i, ranked in enumerate(order):
        same = g_pids[ranked] == q_pids[i]
        found = same[~(same & (g_camids[ranked] == q_camids[i]))]
        ranks = np.flatnonzero(found) + 1
        if len(ranks):
            values.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, default=VERI_LABELS, help="VeRi's label files")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--form", choices=["dense", "sparse"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.form:
        print(json.dumps(run(args.form, args)))
        return
    rows = []
    for form in ("sparse", "dense"):
        command = [sys.executable, __file__, "--form", form, "--scale", str(args.scale)]
        done = subprocess.run(
            [*command, "--labels", str(args.labels)], check=True, capture_output=True, text=True
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'form':8}{'seconds':>9}{'peak MB':>9}{'mAP':>9}{'plain mAP':>11}")
    for row in rows:
        print(f"{row['form']:8}{row['seconds']:9.2f}{row['peak_MB']:9.0f}", end="")
        print(f"{row['mAP']:9.4f}{row['mAP_plain']:11.4f}")
    sparse, dense = rows
    summary = {
        "rows": rows,
        "share_of_time": sparse["seconds"] / dense["seconds"],
        "share_of_memory": sparse["peak_MB"] / dense["peak_MB"],
    }
    print(f"sparse takes {summary['share_of_time']:.1%} of the time", end=" ")
    print(f"and {summary['share_of_memory']:.1%} of the memory")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
