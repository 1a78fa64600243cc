# Sourced by the other scripts: where the repository is and which Python runs its code.
# An active environment wins, then the repository's own .venv, then the Python on PATH.
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${PYTHON:-} ]]; then
  if [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $REPOSITORY/.venv/bin/python ]]; then
    PYTHON=$REPOSITORY/.venv/bin/python
  else
    PYTHON=$(command -v python || command -v python3 || echo python)
  fi
fi
export PYTHON
