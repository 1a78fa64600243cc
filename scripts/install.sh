#!/usr/bin/env bash
# Make or reuse .venv and install the locked versions: scripts/install.sh [dev] [gpu] [ascend]
# Does nothing where the locks and the project file are those of the last installation.
#   dev     also what the tests need
#   gpu     also CUDA 11 for MindSpore on NVIDIA GPUs: 1.7 GB of downloads, 2.9 GB on disk
#   ascend  onnxruntime-cann in place of onnxruntime; CANN itself is installed by its own means
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
main=requirements.txt gpu="" ascend=""
for argument; do
  case $argument in
    dev) main=requirements-dev.txt ;;
    gpu) gpu=requirements-gpu.txt ;;
    ascend) ascend=requirements-ascend.txt ;;
    *) echo "usage: bash scripts/install.sh [dev] [gpu] [ascend]" >&2; exit 2 ;;
  esac
done
if [[ -n $gpu && $(uname -sm) != "Linux x86_64" ]]; then
  echo "error: MindSpore has a CUDA plugin for x86-64 Linux alone, this is $(uname -sm)" >&2
  exit 1
fi

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 python; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: python 3.11 was not found; install it, or set PYTHON to its path" >&2
  return 1
}

if [[ ! -x .venv/bin/python ]]; then
  python=$(find_python)
  "$python" -m venv .venv
fi

pip() { .venv/bin/python -m pip "$@" --disable-pip-version-check --quiet; }

state() {
  cat "$1" pyproject.toml | .venv/bin/python -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

is_installed() { [[ -f .venv/installed-$1 && $(<".venv/installed-$1") == "$(state "$1")" ]]; }

# install LOCK PIP_OPTIONS...
install() {
  local lock=$1
  shift
  pip install --require-hashes "$@" -r "$lock"
  state "$lock" >".venv/installed-$lock"
}

if ! is_installed "$main"; then
  echo "installing $main into .venv (MindSpore and ONNX Runtime are large: about 1.1 GB)"
  # The lock brings its own onnxruntime, whose files are those of the one for Ascend.
  if [[ -f .venv/installed-requirements-ascend.txt ]]; then
    ascend=requirements-ascend.txt
    pip uninstall --yes onnxruntime-cann
    rm .venv/installed-requirements-ascend.txt
  fi
  install "$main"
  pip install --no-deps --editable .
fi
if [[ -n $gpu ]] && ! is_installed "$gpu"; then
  echo "installing $gpu into .venv (1.7 GB of downloads, 2.9 GB on disk)"
  install "$gpu"
  .venv/bin/python -c 'from mtn_core.cuda import make_home; print("CUDA for MindSpore:", make_home())'
fi
if [[ -n $ascend ]] && ! is_installed "$ascend"; then
  echo "installing $ascend into .venv, in place of onnxruntime"
  pip uninstall --yes onnxruntime onnxruntime-gpu
  install "$ascend"
fi
