# Sourced by scripts/quickstart and scripts/test: finds Python, makes .venv unless one is active, installs the package.
# Sets PYTHON. Call: prepare_environment "" (the package alone) or prepare_environment test (with that extra).

usable() {
  "$@" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PREFOPT_PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  candidate="${PREFOPT_PYTHON:-python3}"
  echo "Python 3.11 or newer is needed (by TRL 1.16 and transformers); $candidate is: $("$candidate" --version 2>&1)" >&2
  echo "Install it, or name one: PREFOPT_PYTHON=/path/to/python3.11 $0" >&2
  return 1
}

prepare_environment() {
  local extra="$1" quiet="" python wanted stamp
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    python="$VIRTUAL_ENV/bin/python"
    if ! usable "$python"; then
      echo "The active virtual environment ($VIRTUAL_ENV) has $("$python" --version 2>&1); 3.11 or newer is needed." >&2
      echo "Leave it with \`deactivate\` and run $0 again: it makes its own in .venv." >&2
      return 1
    fi
  else
    python="$PWD/.venv/bin/python"
    if ! usable "$python"; then
      local base
      base="$(find_python)" || return 1
      echo "Making the virtual environment .venv with $("$base" --version)"
      if ! "$base" -m venv --clear .venv; then
        echo "\`$base -m venv\` failed. On Debian and Ubuntu: apt install python3-venv." >&2
        return 1
      fi
    fi
  fi
  PYTHON="$python"

  # The stamp says what was installed from which checkout, so that a second run starts at once and works offline.
  stamp="$("$PYTHON" -c 'import sys; print(sys.prefix)')/.prefopt-installed${extra:+-$extra}"
  wanted="$PWD $(cat pyproject.toml scripts/constraints.txt | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing prefopt${extra:+ with its $extra extra} into ${stamp%/*} (several minutes the first time)"
    [ -t 1 ] || quiet=--quiet
    "$PYTHON" -m pip install $quiet --disable-pip-version-check --constraint scripts/constraints.txt \
      --editable ".${extra:+[$extra]}"
    echo "$wanted" >"$stamp"
  fi
}
