#!/usr/bin/env bash
# What run_onnx_eval_gpu.sh and run_onnx_eval_cpu.sh share; the device comes first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

device=${1:-CPU}
script=run_onnx_eval_${device,,}.sh
usage() {
  cat >&2 <<TEXT
Usage: bash scripts/$script DATASET_NAME ONNX_PATH DEVICE_ID HEATMAP_SEGMENT
  DATASET_NAME     the folder that holds veri/
  ONNX_PATH        file that \`mtn export\` wrote
  DEVICE_ID        which device, 0 on CPU
  HEATMAP_SEGMENT  what the network sees beside RGB: h heatmaps, s segments, hs both, n neither
Example: bash scripts/$script ./data/ ./MultiTask_export_segment.onnx 0 s
TEXT
}

if [[ $# -ne 5 || ! $4 =~ ^[0-9]+$ ]]; then usage; exit 2; fi
case $5 in
  h) heatmaps=True segments=False ;;
  s) heatmaps=False segments=True ;;
  hs | sh) heatmaps=True segments=True ;;
  n) heatmaps=False segments=False ;;
  *) usage; exit 2 ;;
esac

exec "$PYTHON" "$REPOSITORY/scripts/eval_onnx.py" --root "$2" --onnx_path "$3" \
  --device_target "$device" --device_id "$4" \
  --heatmapaware "$heatmaps" --segmentaware "$segments"
