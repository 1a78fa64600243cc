#!/usr/bin/env bash
# Make or reuse .venv and install the locked versions: scripts/install.sh [dev]
# Does nothing when the lock and the project file are those of the last installation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
lock=requirements.txt
[[ ${1:-} == dev ]] && lock=requirements-dev.txt

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
stamp=.venv/installed-$lock
state=$(cat "$lock" pyproject.toml | .venv/bin/python -c \
  'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
if [[ -f $stamp && $(<"$stamp") == "$state" ]]; then
  exit 0
fi
echo "installing $lock into .venv (MindSpore and ONNX Runtime are large: about 1.1 GB)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
echo "$state" >"$stamp"
