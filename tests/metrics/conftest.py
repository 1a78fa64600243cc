"""The plainest form of the metrics: the whole matrix, a full stable sort, a loop over queries."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # rerank_dense


def distance_matrix(query, gallery, metric):
    query, gallery = np.asarray(query, np.float64), np.asarray(gallery, np.float64)
    out = np.empty((len(query), len(gallery)))
    for i, q in enumerate(query):
        for j, g in enumerate(gallery):
            if metric == "euclidean":
                out[i, j] = np.sqrt(((q - g) ** 2).sum())
            else:
                length = np.sqrt((q**2).sum() * (g**2).sum())
                out[i, j] = 1 - (q * g).sum() / length if length else 1.0
    return out


def evaluate(distmat, q_pids, g_pids, q_camids, g_camids, max_rank):
    """Returns a dict; ap and inp are nan and first_match_rank 0 for a query without a match."""
    ap, inp, first, top = [], [], [], []
    for i in range(len(distmat)):
        order = sorted(range(len(g_pids)), key=lambda j, i=i: (distmat[i, j], j))
        order = [j for j in order if not (g_pids[j] == q_pids[i] and g_camids[j] == q_camids[i])]
        top.append(order[0] if order else -1)
        ranks = [r for r, j in enumerate(order, 1) if g_pids[j] == q_pids[i]]
        if not ranks:
            ap.append(np.nan)
            inp.append(np.nan)
            first.append(0)
            continue
        ap.append(np.mean([hit / rank for hit, rank in enumerate(ranks, 1)]))
        inp.append(len(ranks) / ranks[-1])
        first.append(ranks[0])
    matched = [r for r in first if r]
    cmc = [
        np.mean([r <= k for r in matched]) if matched else np.nan for k in range(1, max_rank + 1)
    ]
    return {
        "ap": np.array(ap),
        "inp": np.array(inp),
        "first_match_rank": np.array(first),
        "nearest": np.array(top),
        "cmc": np.array(cmc),
        "mAP": np.nanmean(ap) if matched else np.nan,
        "mINP": np.nanmean(inp) if matched else np.nan,
        "num_query_without_match": len(ap) - len(matched),
    }


@pytest.fixture(scope="session")
def naive():
    return SimpleNamespace(distance_matrix=distance_matrix, evaluate=evaluate)
