#!/usr/bin/env bash
# A report without MindSpore: embeddings of a PyTorch loop, made in .venv (or $PYTHON), get a report
# in an environment of its own that has mtn_core[report] alone, in the locked versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m mtn_core synth --root "$folder/data" --size smoke
"$python" scripts/torch_embeddings.py "$folder/data" "$folder/embeddings"

mkdir "$folder/source"
cp -r mtn_core pyproject.toml README.md LICENSE "$folder/source"
"$python" -m venv "$folder/venv"
# Versions alone: the lock's hashes would have to cover the source, too.
grep -oE '^[A-Za-z0-9._-]+==[^ ;\\]+' requirements.txt >"$folder/versions.txt"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --constraint "$folder/versions.txt" "$folder/source[report]"

cd "$folder" # where the checkout cannot be imported
unset PYTHONPATH
venv/bin/mtn report --embeddings embeddings/query.npz embeddings/gallery.npz \
  --images data/veri --run_out runs --names torch --out report.html
venv/bin/python - <<'EOF'
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mtn_core.metrics.retrieval import evaluate

absent = "mindspore", "onnxruntime", "torch", "jupyterlab"
present = [name for name in absent if find_spec(name)]
assert not present, f"installed with the report alone: {present}"
query, gallery = (np.load(f"embeddings/{split}.npz") for split in ("query", "gallery"))
ids = [split[key] for key in ("pids", "camids") for split in (query, gallery)]
expected = evaluate(query["features"], gallery["features"], *ids).mAP
saved = json.loads(Path("runs/torch/results.json").read_text())["mAP"]
assert abs(saved - expected) < 1e-9, f"mAP {saved}, the metrics module says {expected}"
page = Path("report.html").read_text()
assert f"mAP of {100 * expected:.1f} %" in page, "the page does not show the mAP"
assert "could not be read" not in page, "pictures are missing"
print(f"report without MindSpore: mAP {expected:.1%}, as the metrics module says")
EOF
