# The Python that scripts in .ci need; sourced. Expects $root.

# Whether a script is only asked for its options, which any Python tells.
asks_for_help() {
  local argument
  for argument in "$@"; do
    case "$argument" in -h | --help) return 0 ;; esac
  done
  return 1
}

# Prints the interpreter: OWL_PYTHON, or that of .ci/venv, which is made where it is missing.
python_of_checks() { # NAME-IN-MESSAGES [ARGUMENTS]
  local python="${OWL_PYTHON:-$root/.ci/venv/bin/python}"
  if asks_for_help "${@:2}" && [ -z "${OWL_PYTHON:-}" ]; then
    python=python3
    command -v "$python" >/dev/null || { echo "$1: Cannot find python3: install Python 3.10 or later, or set OWL_PYTHON" >&2; exit 2; }
  elif [ -n "${OWL_PYTHON:-}" ]; then
    command -v "$python" >/dev/null || { echo "$1: Cannot find OWL_PYTHON $OWL_PYTHON" >&2; exit 2; }
  elif ! cmp -s "$root/.ci/requirements.txt" "$root/.ci/venv/installed.txt"; then
    echo "$1: installing PyTorch and what else .ci/requirements.txt names into .ci/venv, once" >&2
    rm -rf "$root/.ci/venv"
    python3 -m venv "$root/.ci/venv" || { echo "$1: Cannot make .ci/venv: install Python 3.10 or later with its module venv" >&2; exit 2; }
    "$python" -m pip install --quiet -r "$root/.ci/requirements.txt" >&2 ||
      { echo "$1: Cannot install .ci/requirements.txt: see pip's messages above" >&2; exit 2; }
    cp "$root/.ci/requirements.txt" "$root/.ci/venv/installed.txt"
  fi
  printf '%s' "$python"
}
