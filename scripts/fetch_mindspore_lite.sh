#!/usr/bin/env bash
# Fetches the MindSpore Lite runtime (headers, libraries, converter) from the configured package
# index and prints the folder that holds it. LITE_HOME, a user's own installation, wins.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

VERSION=2.0.0
usage() {
  cat >&2 <<TEXT
Usage: bash scripts/fetch_mindspore_lite.sh [--no-download]
Prints the folder of MindSpore Lite $VERSION as its only line on standard output.
  --no-download  only look for it; exit 3 when it would have to be downloaded
LITE_HOME=DIR  use this installation instead; MTN_LITE_CACHE=DIR  keep the download there
Exit codes: 0 found, 1 failed, 2 wrong usage, 3 not here.
TEXT
}

download=yes
case "$#:${1:-}" in
  0:) ;;
  1:--no-download) download=no ;;
  1:-h | 1:--help) usage; exit 0 ;;
  *) usage; exit 2 ;;
esac

# The wheel keeps headers and libraries together, the vendor's archive under runtime/.
is_installation() {
  [[ -f $1/include/api/model.h && -d $1/lib ]] ||
    [[ -f $1/runtime/include/api/model.h && -d $1/runtime/lib ]]
}

if [[ -n ${LITE_HOME:-} ]]; then
  if ! is_installation "$LITE_HOME"; then
    echo "error: LITE_HOME=$LITE_HOME holds no MindSpore Lite: expected include/api/model.h and" \
      "lib/ there or under runtime/. Correct LITE_HOME, or unset it to download $VERSION." >&2
    exit 1
  fi
  (cd "$LITE_HOME" && pwd)
  exit 0
fi

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64)
    platforms=(manylinux1_x86_64)
    sha256=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec ;;
  Linux-aarch64)
    platforms=(manylinux2014_aarch64)
    sha256=9006b56a0285833802b4880f34cbce5f94111ef5ca4071d5df5c61e8c2a3a6f7 ;;
  *)
    echo "error: there is no MindSpore Lite $VERSION wheel for $(uname -sm);" \
      "install it yourself and set LITE_HOME" >&2
    exit 1 ;;
esac

cache=${MTN_LITE_CACHE:-$REPOSITORY/build}
home=$cache/mindspore_lite-$VERSION-$(uname -m)
# The stamp is written into the folder before it gets its name: a folder without it is not ours.
if is_installation "$home" && [[ $(cat "$home/.sha256" 2>/dev/null) == "$sha256" ]]; then
  echo "$home"
  exit 0
fi
if [[ $download == no ]]; then
  echo "MindSpore Lite $VERSION is not in $cache; run: bash scripts/fetch_mindspore_lite.sh" >&2
  exit 3
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.lite-XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "downloading MindSpore Lite $VERSION (up to 170 MB)" >&2
# It is built for CPython 3.7; only its C++ part is used, so the running Python does not matter.
"$PYTHON" -m pip download "mindspore-lite==$VERSION" --no-deps --only-binary=:all: --quiet \
  --disable-pip-version-check --python-version 37 --implementation cp \
  --platform "${platforms[@]}" --dest "$work" >&2
wheel=$(find "$work" -name 'mindspore_lite-*.whl' -print -quit)
if ! echo "$sha256  $wheel" | sha256sum --check --status; then
  echo "error: $(basename "$wheel") has SHA-256 $(sha256sum "$wheel" | cut -d' ' -f1), expected" \
    "$sha256; nothing was installed. Check the package index, or set LITE_HOME." >&2
  exit 1
fi
"$PYTHON" -m zipfile -e "$wheel" "$work/unpacked"
is_installation "$work/unpacked/mindspore_lite"
echo "$sha256" >"$work/unpacked/mindspore_lite/.sha256"
rm -rf "$home"
mv "$work/unpacked/mindspore_lite" "$home"
echo "$home"
