#!/usr/bin/env bash
# The documentation of the Python API, from the docstrings: scripts/docs.sh [FOLDER], then open
# FOLDER/index.html. A module that cannot be imported is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-build/api}
export PATH="$PWD/.venv/bin:$PATH"
# pdoc warns of such a module and goes on.
said=$(python -m pdoc --docformat google --output-directory "$out" mtn_core 2>&1) || { echo "$said" >&2; exit 1; }
if grep -E "Warn: Error|Error (importing|loading)|Traceback" <<<"$said" >&2; then exit 1; fi
echo "open $out/index.html"
