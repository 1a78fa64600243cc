#!/usr/bin/env bash
# Run the tests: scripts/test.sh [pytest arguments]; --slow adds those that take minutes.
# Graphs are compiled on one core, so a second process nearly halves the time; -n 0 runs in one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh dev
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
exec python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
