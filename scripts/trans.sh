#!/usr/bin/env bash
# What run_trans_ascend.sh, run_trans_gpu.sh and run_trans_cpu.sh share: trans.sh TARGET ARGUMENTS...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

target=$1
shift
script=run_trans_${target,,}.sh
usage() {
  cat >&2 <<TEXT
usage: bash scripts/$script DATA_PATH CKPT_PATH DEVICE_ID
  DATA_PATH  the folder that holds veri/, or that veri folder itself
  CKPT_PATH  checkpoint of \`mtn train-pose\` (or of \`mtn convert\`), or an exported .onnx file
  DEVICE_ID  which device, 0 on CPU
Environment: EXTRA_ARGS (further arguments of \`mtn trans\`, such as --pack or --overwrite)
Example: bash scripts/$script /data/veri PoseEstNet.ckpt 0
TEXT
  [[ -z ${1:-} ]] || echo "error: $1" >&2
  exit 2
}

[[ $# -eq 3 ]] || usage "expected 3 arguments, got $#"
[[ $3 =~ ^[0-9]+$ ]] || usage "DEVICE_ID must be a number, got $3"
if meant=$(swapped "$1" "$2" "$script" data "$2" "$1" "$3"); then usage "$meant"; fi
root=$1
# The document's example gives the veri folder, its text the folder above.
if [[ ! -d $root/veri && $(basename "$root") == veri ]]; then root=$(dirname "$root"); fi
model=(--ckpt_path "$2")
if [[ $2 == *.onnx ]]; then model=(--onnx_path "$2"); fi
read -r -a extra <<<"${EXTRA_ARGS:-}"

"$PYTHON" -m mtn_core trans --root "$root" "${model[@]}" --device_target "$target" \
  --device_id "$3" "${extra[@]}" 2>&1 | tee "trans_${target,,}.log"
