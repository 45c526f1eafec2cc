# The Python that scripts in .ci need; sourced. Expects $root.

# Prints the interpreter: OWL_PYTHON, or that of .ci/venv, which is made where it is missing.
python_of_checks() { # NAME-IN-MESSAGES
  local python="${OWL_PYTHON:-$root/.ci/venv/bin/python}"
  if [ -n "${OWL_PYTHON:-}" ]; then
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
