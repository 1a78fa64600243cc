#!/usr/bin/env bash
# Builds ascend_310_infer/out/main and, where the runtime has a converter, out/convert.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat >&2 <<TEXT
Usage: bash ascend_310_infer/build.sh [--sanitize] [--out DIR]
  --sanitize  with the address and undefined-behaviour sanitizers, into out/sanitize
  --out DIR   put the programs there, default ascend_310_infer/out
MindSpore Lite is what scripts/fetch_mindspore_lite.sh finds: LITE_HOME, or a download.
TEXT
}

sanitize=OFF
out=
while [[ $# -gt 0 ]]; do
  case $1 in
    --sanitize) sanitize=ON; shift ;;
    --out) [[ $# -ge 2 && -n $2 ]] || { usage; exit 2; }; out=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage; exit 2 ;;
  esac
done
variant=release
if [[ $sanitize == ON ]]; then variant=sanitize; fi
if [[ -z $out ]]; then
  out=$here/out
  if [[ $sanitize == ON ]]; then out=$here/out/sanitize; fi
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

for tool in cmake g++; do
  if ! command -v "$tool" >/dev/null; then
    echo "error: $tool is needed to build the program; install it with the system's packages" >&2
    exit 1
  fi
done
lite_home=$(bash "$here/../scripts/fetch_mindspore_lite.sh")
build=$here/build/$variant
mkdir -p "$here/build"
# Two builds in one folder would spoil each other.
if command -v flock >/dev/null; then
  exec 9>"$here/build/.lock"
  flock 9
fi
# A cache made for another runtime or another checkout would be silently reused.
if ! grep -qsxF "LITE_HOME:PATH=$lite_home" "$build/CMakeCache.txt"; then
  rm -rf "$build"
fi
cmake -S "$here" -B "$build" -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Release \
  "-DLITE_HOME=$lite_home" "-DSANITIZE=$sanitize" >&2
cmake --build "$build" --parallel 2 >&2
cmake --install "$build" --prefix "$out" >&2
echo "$out"
