#!/usr/bin/env bash
# Run the tests: scripts/test.sh [pytest arguments]; --slow adds those that take minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install.sh dev
export PATH="$PWD/.venv/bin:$PATH" GLOG_v=${GLOG_v:-3}
ruff check .
ruff format --check .
exec python -m pytest "$@"
