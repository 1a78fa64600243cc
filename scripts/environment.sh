# Sourced by the other scripts: where the repository is, which Python runs its code, and arguments
# in the other order, for the scripts do not agree on one.
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

# is_data PATH: it is a folder that holds veri/, or veri/ itself.
is_data() { [[ -d $1/veri || (-d $1 && $(basename "$1") == veri) ]]; }

# swapped DATA OTHER NAME FIRST ARGUMENTS...: prints what was meant, and succeeds, where the data
# folder was given in place of the other one. NAME is the script, ARGUMENTS are in the right order.
swapped() {
  if is_data "$1" || ! is_data "$2"; then return 1; fi
  local name=$3 first=$4 data=$2
  shift 4
  echo "$data is a data folder; did you mean: bash scripts/$name$(printf ' %q' "$@") ($first first here)"
}
