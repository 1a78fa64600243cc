#!/usr/bin/env bash
# The sample that the README shows: a training with the recipe demo, its report as
# reports/sample.html, and a picture of its first screen. Ten minutes; needs Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"

if [[ -n $(git status --porcelain) ]]; then
  echo "the report names the commit that it was made from: commit or stash what changed first" >&2
  exit 1
fi
root=data/synthveri-demo run=runs/sample
[[ -d $root/veri ]] || mtn synth --root "$root" --size demo
mtn train --root "$root" --out "$run" --recipe demo --overwrite
mtn eval --root "$root" --ckpt_path "$run/ckpt/best.ckpt" --out "$run" --baselines --overwrite
# Fewer lists and pictures than usual: git keeps no file above 500 kB here.
python - "$run" <<'SAMPLE'
import sys
from mtn_core.report import write_report
small = {"num_lists": 2, "top_k": 5, "map_method": None}
small |= {"max_picture_bytes": 60_000, "max_large_bytes": 12_000}
write_report([sys.argv[1]], "reports/sample.html", **small)
SAMPLE
python scripts/screenshot.py reports/sample.html reports/readme/report.png
ls -l reports/sample.html reports/readme/report.png
