#!/usr/bin/env bash
# What run_onnx_eval_gpu.sh and run_onnx_eval_cpu.sh share; the device comes first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

device=${1:-CPU}
lower=${device,,}
usage() {
  cat >&2 <<TEXT
usage: bash scripts/run_onnx_eval_$lower.sh DATASET_NAME ONNX_PATH DEVICE_ID HEATMAP_SEGMENT
  DATASET_NAME     the folder that holds veri/
  ONNX_PATH        file that \`mtn export\` wrote
  DEVICE_ID        which device, 0 on CPU
  HEATMAP_SEGMENT  what the network sees beside RGB: h heatmaps, s segments, hs both, n neither
Environment: RUN_DIR (run folder), EXTRA_ARGS (further \`mtn eval-onnx\` arguments)
Example: bash scripts/run_onnx_eval_$lower.sh ./data/ ./MultiTask_export_segment.onnx 0 s
TEXT
  echo "error: $1" >&2
  exit 2
}

[[ $# -eq 5 ]] || usage "expected 4 arguments, got $(($# - 1))"
[[ $4 =~ ^[0-9]+$ ]] || usage "DEVICE_ID must be a number, got $4"
case $5 in
  h) maps=(--heatmapaware True --segmentaware False) ;;
  s) maps=(--heatmapaware False --segmentaware True) ;;
  hs | sh) maps=(--heatmapaware True --segmentaware True) ;;
  n) maps=(--heatmapaware False --segmentaware False) ;;
  *) usage "HEATMAP_SEGMENT must be h, s, hs or n, got $5" ;;
esac
if meant=$(swapped "$2" "$3" "run_onnx_eval_$lower.sh" data "$3" "$2" "$4" "$5"); then
  usage "$meant"
fi
read -r -a extra <<<"${EXTRA_ARGS:-}"
if [[ -n ${RUN_DIR:-} ]]; then extra+=(--out "$RUN_DIR"); fi

# Output goes to the log and to the terminal; with pipefail the exit code is the job's.
"$PYTHON" "$REPOSITORY/scripts/eval_onnx.py" --root "$2" --onnx_path "$3" \
  --device_target "$device" --device_id "$4" "${maps[@]}" "${extra[@]}" 2>&1 |
  tee "eval_onnx_$lower.log"
