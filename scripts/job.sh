#!/usr/bin/env bash
# What the run_*_train_* and run_eval_* scripts share: job.sh KIND TARGET NAME ARGUMENTS...
# KIND is train, distribute or eval; TARGET is CPU, GPU or Ascend; NAME is the script's own.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

kind=$1 target=$2 name=$3
shift 3
lower=${target,,}
case $kind-$target in
  train-*) form="DATA_PATH PRETRAINED_PATH DEVICE_ID HEATMAP_SEGMENT" ;;
  distribute-Ascend) form="DATASET_PATH PRETRAIN_CKPT_PATH RANK_TABLE_FILE HEATMAP_SEGMENT" ;;
  distribute-*) form="DATASET_PATH PRETRAIN_CKPT_PATH RANK_SIZE HEATMAP_SEGMENT" ;;
  eval-Ascend) form="CKPT_PATH DATASET_NAME DEVICE_ID HEATMAP_SEGMENT" ;;
  eval-*) form="DATASET_NAME CKPT_PATH DEVICE_ID HEATMAP_SEGMENT" ;;
esac

usage() {
  cat >&2 <<TEXT
usage: bash scripts/$name $form
  DATA_PATH, DATASET_PATH, DATASET_NAME  the folder that holds veri/
  PRETRAINED_PATH, PRETRAIN_CKPT_PATH    weights from \`mtn convert\`, or none
  CKPT_PATH                              checkpoint of a training
  HEATMAP_SEGMENT                        h heatmaps, s segments, hs both, n neither
Environment: RUN_DIR (run folder), RECIPE (default seed), EXTRA_ARGS (further \`mtn\` arguments)
TEXT
  [[ -z ${1:-} ]] || echo "error: $1" >&2
  exit 2
}

# The document lists the data path twice in one of its usage lines.
if [[ $kind == distribute && $# -eq 5 && $1 == "$3" ]]; then set -- "$1" "$2" "$4" "$5"; fi
[[ $# -eq 4 ]] || usage "expected 4 arguments, got $#"
case $4 in
  h) maps=(--heatmapaware True --segmentaware False) ;;
  s) maps=(--heatmapaware False --segmentaware True) ;;
  hs | sh) maps=(--heatmapaware True --segmentaware True) ;;
  n) maps=(--heatmapaware False --segmentaware False) ;;
  *) usage "HEATMAP_SEGMENT must be h, s, hs or n, got $4" ;;
esac
read -r -a extra <<<"${EXTRA_ARGS:-}"

# The document has them in either order: checkpoint first for Ascend's evaluation, data elsewhere.
if [[ $kind-$target == eval-Ascend ]]; then
  if meant=$(swapped "$2" "$1" "$name" checkpoint "$2" "$1" "$3" "$4"); then usage "$meant"; fi
elif meant=$(swapped "$1" "$2" "$name" data "$2" "$1" "$3" "$4"); then
  usage "$meant"
fi

number() { [[ $2 =~ ^[0-9]+$ ]] || usage "$1 must be a number, got $2"; }

# Output goes to the log and to the terminal; the exit code is the job's.
logged() {
  local log=$1
  shift
  "$@" 2>&1 | tee "$log"
}

weights() {
  if [[ $1 == none ]]; then
    pretrained=(--pre_trained False)
  else
    pretrained=(--pre_trained True --pre_ckpt_path "$1")
  fi
}

case $kind in
  train)
    number DEVICE_ID "$3"
    weights "$2"
    logged "train_$lower.log" "$PYTHON" "$REPOSITORY/scripts/train.py" --distribute False \
      --root "$1" --out "${RUN_DIR:-./train_$lower}" --recipe "${RECIPE:-seed}" \
      --device_target "$target" --device_id "$3" "${pretrained[@]}" "${maps[@]}" "${extra[@]}"
    ;;
  distribute)
    weights "$2"
    if [[ $target == Ascend ]]; then
      [[ -f $3 ]] || usage "RANK_TABLE_FILE $3 does not exist"
      workers=$("$PYTHON" -c 'import json, sys
print(sum(len(s["device"]) for s in json.load(open(sys.argv[1]))["server_list"]))' "$3") ||
        usage "RANK_TABLE_FILE $3 is not a rank table"
      launcher=(--workers "$workers" --rank_table_file "$3")
      out=${RUN_DIR:-./device0}
    else
      number RANK_SIZE "$3"
      workers=$3
      launcher=(--workers "$workers")
      out=${RUN_DIR:-./distribute_train_$lower}
    fi
    if [[ -n ${MASTER_PORT:-} ]]; then launcher+=(--master_port "$MASTER_PORT"); fi
    logs=$PWD/distribute_train_${lower}_logs
    if [[ $target == Ascend ]]; then
      # The document looks for device[X]/train[X].log.
      for ((rank = 0; rank < workers; rank++)); do
        mkdir -p "device$rank"
        ln -sfn "$logs/worker_$rank.log" "device$rank/train$rank.log"
      done
    fi
    code=0
    "$PYTHON" -m mtn_core launch "${launcher[@]}" --log_dir "$logs" -- train --distribute True \
      --root "$1" --out "$out" --recipe "${RECIPE:-seed}" --device_target "$target" \
      "${pretrained[@]}" "${maps[@]}" "${extra[@]}" || code=$?
    if [[ $target != Ascend && -f $logs/worker_0.log ]]; then
      cp "$logs/worker_0.log" "distribute_train_$lower.log"
      grep "loss is" "distribute_train_$lower.log" || true
    fi
    exit "$code"
    ;;
  eval)
    number DEVICE_ID "$3"
    if [[ $target == Ascend ]]; then ckpt=$1 data=$2; else data=$1 ckpt=$2; fi
    out=()
    if [[ -n ${RUN_DIR:-} ]]; then out=(--out "$RUN_DIR"); fi
    logged "eval_$lower.log" "$PYTHON" "$REPOSITORY/scripts/eval.py" --ckpt_path "$ckpt" \
      --root "$data" --device_target "$target" --device_id "$3" "${out[@]}" "${maps[@]}" \
      "${extra[@]}"
    ;;
esac
