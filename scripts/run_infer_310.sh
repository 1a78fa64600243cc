#!/usr/bin/env bash
# Inference of a data set with the C++ program on MindSpore Lite: preprocess, build, infer, evaluate.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

usage() {
  cat >&2 <<TEXT
usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET_PATH NEED_PREPROCESS DEVICE_TARGET \\
         [DEVICE_ID] NEED_HEATMAP NEED_SEGMENT
  MINDIR_PATH      exported .mindir; the .onnx file and model.json of its export lie beside it
  DATASET_PATH     the folder that holds veri/
  NEED_PREPROCESS  y, or n to use the inputs of an earlier call
  DEVICE_TARGET    Ascend or CPU
  DEVICE_ID        may be left out: 0
  NEED_HEATMAP     y where the network sees heatmaps, else n
  NEED_SEGMENT     y where the network sees segments, else n
Example: bash scripts/run_infer_310.sh ./MultiTask_export_segment.mindir ./data/ y Ascend 0 n y
Everything is written to ./infer_310 (MTN_INFER_DIR=DIR: elsewhere); MTN_INFER_BATCH=N: images a
prediction, default 1; LITE_HOME=DIR: your own MindSpore Lite.
TEXT
  echo "error: $1" >&2
  exit 2
}

case $# in
  7) device_id=$5 heatmap=$6 segment=$7 ;;
  6) device_id=0 heatmap=$5 segment=$6 ;;
  *) usage "expected 7 arguments, or 6 without DEVICE_ID, got $#" ;;
esac
model=$1 dataset=$2 preprocess=$3 device=$4
batch=${MTN_INFER_BATCH:-1}
[[ $preprocess =~ ^[yn]$ ]] || usage "NEED_PREPROCESS must be y or n, got '$preprocess'"
[[ $device =~ ^(Ascend|CPU)$ ]] || usage "DEVICE_TARGET must be Ascend or CPU, got '$device'"
[[ $device_id =~ ^[0-9]+$ ]] || usage "DEVICE_ID must be a number, got '$device_id'"
[[ $heatmap =~ ^[yn]$ ]] || usage "NEED_HEATMAP must be y or n, got '$heatmap'"
[[ $segment =~ ^[yn]$ ]] || usage "NEED_SEGMENT must be y or n, got '$segment'"
[[ $batch =~ ^[1-9][0-9]*$ ]] || usage "MTN_INFER_BATCH must be a number from 1 on, got '$batch'"
if meant=$(swapped "$dataset" "$model" run_infer_310.sh model "$2" "$1" "${@:3}"); then
  usage "$meant"
fi
truth() { if [[ $1 == y ]]; then echo True; else echo False; fi; }

work=${MTN_INFER_DIR:-$PWD/infer_310}
mkdir -p "$work"
# The runtime's own messages from errors on; the program says what went wrong itself.
export GLOG_v=${GLOG_v:-3}

# Runs a step; when it fails, the script ends with the step's own exit code.
step() {
  echo "== $1"
  shift
  local code=0
  "$@" || code=$?
  if [[ $code -ne 0 ]]; then
    echo "error: this step ended with exit code $code; see above and $work/*.log" >&2
    exit "$code"
  fi
}

build() { bash "$REPOSITORY/ascend_310_infer/build.sh" >"$work/build.log" 2>&1 ||
  { local code=$?; tail -n 20 "$work/build.log" >&2; return "$code"; }; }

prepare_inputs() {
  local how=(--overwrite)
  if [[ $preprocess == n ]]; then how=(--reuse); fi
  "$PYTHON" "$REPOSITORY/scripts/preprocess.py" --root "$dataset" --mindir_path "$model" \
    --result_dir "$work/input" --label_dir "$work/label" \
    --heatmapaware "$(truth "$heatmap")" --segmentaware "$(truth "$segment")" "${how[@]}"
}

convert() {
  local converter=$REPOSITORY/ascend_310_infer/out/convert
  if [[ ! -x $converter ]]; then
    converter=${LITE_HOME:-}/tools/converter/converter/converter_lite
  fi
  "$PYTHON" -m mtn_core to-lite --mindir_path "$model" --converter "$converter" \
    --batch "$batch" --out "$work/model.mindir"
}

infer() {
  "$REPOSITORY/ascend_310_infer/out/main" --mindir_path "$work/model.mindir" \
    --input0_path "$work/input/$1/img" --input1_path "$work/input/$1/vkeypt" \
    --device_target "$device" --device_id "$device_id" --batch "$batch" \
    --output_path "$work/result_Files" --time_path "$work/time_Result/$1" 2>&1 |
    tee "$work/infer_$1.log"
}

evaluate() {
  "$PYTHON" "$REPOSITORY/scripts/postprocess.py" --result_dir "$work/result_Files" \
    --label_dir "$work/label" | tee "$work/acc.log"
}

rm -rf "$work/result_Files" "$work/time_Result" "$work/acc.log" "$work/model.mindir"
step "preparing the inputs" prepare_inputs
step "building the program" build
step "converting the model" convert
step "inference on the query images" infer query
step "inference on the gallery images" infer gallery
step "evaluation" evaluate
