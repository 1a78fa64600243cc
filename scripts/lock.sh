#!/usr/bin/env bash
# Rewrite requirements.txt and requirements-dev.txt from pyproject.toml: exact versions for CPU, with
# the hashes of their files for every platform. Needs pip-tools and eight minutes. MindSpore stays
# at 2.8.0: later releases run convolutions slowly on AVX-512 processors, see
# mtn_core/environment.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
echo "mindspore==2.8.0" >"$constraints"
for extra in "" dev; do
  options=(--quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
    --no-annotate --no-header --generate-hashes --allow-unsafe --constraint "$constraints"
    --extra all)
  output=requirements.txt
  if [[ -n $extra ]]; then
    options+=(--extra "$extra")
    output=requirements-dev.txt
  fi
  python -m piptools compile "${options[@]}" --output-file "$output" pyproject.toml
  sed -i "/tmp\./d" "$output"
  sed -i "1i # Exact versions for CPU, made by scripts/lock.sh from pyproject.toml." "$output"
done
