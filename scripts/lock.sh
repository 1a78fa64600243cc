#!/usr/bin/env bash
# Rewrite the requirements*.txt from pyproject.toml: exact versions for Linux on x86-64 and aarch64,
# with the hashes of their files. Needs uv (pip install uv) and a minute. Versions stay what they
# are unless pyproject.toml asks for others: scripts/lock.sh --upgrade, or --upgrade-package NAME.
# MindSpore stays at 2.8.0: later releases run convolutions slowly on AVX-512 processors, see
# mtn_core/environment.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "error: uv was not found; pip install uv" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "mindspore==2.8.0" >"$work/constraints"

# lock OUTPUT WHAT FOR_UV...: WHAT ends the first line of the file.
lock() {
  local output=$1 what=$2
  shift 2
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --no-emit-find-links --constraint "$work/constraints" \
    "$@" --output-file "$output"
  # What holds wherever this is installed is left out of the markers.
  sed -i -e "s/ ; python_full_version < '3.12' and sys_platform == 'linux' \\\\$/ \\\\/" \
    -e "s/python_full_version < '3.12' and //; s/ and sys_platform == 'linux'//" \
    -e "1i # Exact versions $what, made by scripts/lock.sh from pyproject.toml." "$output"
}

extra() {
  python3 -c 'import sys, tomllib
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*extras[sys.argv[1]], sep="\n")' "$1" >"$work/$1.in"
}

lock requirements.txt "for CPU" --extra all pyproject.toml "$@"
# What the others share with it has the same version.
sed '/^#/d' requirements.txt >>"$work/constraints"
lock requirements-dev.txt "for CPU and development" --extra all --extra dev pyproject.toml "$@"
extra gpu
lock requirements-gpu.txt "of CUDA 11 for MindSpore on NVIDIA GPUs" "$work/gpu.in" "$@"
extra ascend
lock requirements-ascend.txt "of ONNX Runtime for Ascend" "$work/ascend.in" "$@"
