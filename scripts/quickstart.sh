#!/usr/bin/env bash
# From a fresh clone to a retrieval report: scripts/quickstart.sh [--profile smoke|demo]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  echo "usage: bash scripts/quickstart.sh [--profile smoke|demo]" >&2
  exit 2
}
profile=smoke
while (($#)); do
  case $1 in
    --profile) [[ $# -ge 2 ]] || usage; profile=$2; shift 2 ;;
    --profile=*) profile=${1#*=}; shift ;;
    *) usage ;;
  esac
done
[[ $profile == smoke || $profile == demo ]] || usage

bash scripts/install.sh
export PATH="$PWD/.venv/bin:$PATH"
mtn workbook --profile "$profile" --overwrite
echo "open $PWD/reports/$profile/index.html"
if [[ $profile == smoke ]]; then
  echo "smoke checks that everything runs; for a result: bash scripts/quickstart.sh --profile demo, 10 minutes"
fi
