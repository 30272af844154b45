#!/usr/bin/env bash
# Finds or fetches the Python of a row of the support matrix and uv, and installs the row's lock into
# .venv. Does nothing, quickly, when nothing changed. With --row it only says which row, and why.
# VITRINE_ROW is 3.10, 3.12, or auto, which is the default and chooses by the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.8
VENV=.venv
TOOLS=.tools

say() { printf '\033[1m[set-up]\033[0m %s\n' "$*"; }
die() { printf '[set-up] %s\n' "$*" >&2; exit 1; }

# A shim that is on PATH may belong to a version that pyenv has not selected, so run it.
runs() { "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" >/dev/null 2>&1; }

# Prints the first Python of these versions that runs: on PATH, then under pyenv.
find_python() {
  local root wanted version
  root="${PYENV_ROOT:-$HOME/.pyenv}"
  for wanted in "$@"; do
    if runs "python$wanted" "$wanted"; then command -v "python$wanted"; return; fi
    for version in $(ls -1 "$root/versions" 2>/dev/null | grep "^${wanted/./\\.}\." | sort -rV); do
      if runs "$root/versions/$version/bin/python$wanted" "$wanted"; then
        echo "$root/versions/$version/bin/python$wanted"; return
      fi
    done
  done
}

has_glibc() {
  local found
  found=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
  [ -n "$found" ] && [ "$(printf '%s\n' "$1" "$found" | sort -V | head -1)" = "$1" ]
}

# Sets row, its Pythons and its lock, and says why.
choose_row() {
  local why
  if [ "${VITRINE_ROW:-auto}" != auto ]; then
    row=$VITRINE_ROW why="VITRINE_ROW says so"
  elif ! has_glibc 2.39; then
    row=3.10 why="the newer one needs glibc 2.39"
  elif [ -f "$stamp" ] && runs "$VENV/bin/python" 3.10; then
    row=3.10 why="$VENV has it; VITRINE_ROW=3.12 changes it"
  elif [ -f "$stamp" ] && { runs "$VENV/bin/python" 3.12 || runs "$VENV/bin/python" 3.13; }; then
    row=3.12 why="$VENV has it; VITRINE_ROW=3.10 changes it"
  elif [ -z "$(find_python 3.12 3.13)" ] && [ -n "$(find_python 3.10)" ]; then
    row=3.10 why="Python 3.10 is here, and neither 3.12 nor 3.13"
  else
    row=3.12 why="glibc is 2.39 or newer"
  fi
  case $row in
    3.10) pythons=(3.10) lock=requirements.lock what="TFX 1.16, TensorFlow 2.16 on Python 3.10" ;;
    3.12) pythons=(3.12 3.13) lock=requirements-3.12.lock what="TFX 1.21, TensorFlow 2.21 on Python 3.12 or 3.13" ;;
    *) die "VITRINE_ROW is 3.10, 3.12 or auto, not $row" ;;
  esac
  chosen="$what: $why"
}

find_uv() {
  if [ -x "$TOOLS/uv/bin/uv" ]; then echo "$TOOLS/uv/bin/uv"; return; fi
  # A uv on PATH may be a shim that does not run, or too old for `venv --clear`.
  if uv venv --help 2>/dev/null | grep -q -- --clear; then command -v uv; return; fi
  local base
  for base in "$1" python3; do
    [ -n "$base" ] || continue
    if "$base" -m venv "$TOOLS/uv" >/dev/null 2>&1 \
      && "$TOOLS/uv/bin/pip" install -q --disable-pip-version-check "uv==$UV_VERSION" >&2; then
      echo "$TOOLS/uv/bin/uv"; return
    fi
    rm -rf "$TOOLS/uv"
  done
}

fingerprint() { cat "$lock" setup.py scripts/bootstrap.sh | sha256sum | cut -c1-16; }

venv_runs() {
  local wanted
  for wanted in "${pythons[@]}"; do runs "$VENV/bin/python" "$wanted" && return; done
  return 1
}

stamp="$VENV/.vitrine-installed"
choose_row
if [ "${1:-}" = --row ]; then echo "$chosen"; exit; fi
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint) $PWD" ] && venv_runs; then
  exit 0
fi

command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 \
  || die "No C++ compiler, and one dependency of TFX (pyfarmhash) is compiled. On Debian or Ubuntu: apt-get install g++"

say "Row of the support matrix: $chosen"
python=$(find_python "${pythons[@]}")
uv=$(find_uv "$python")
[ -n "$uv" ] || die "Neither uv nor a Python that can make a virtual environment was found. Install one: https://docs.astral.sh/uv/"
if [ -z "$python" ]; then
  say "No Python ${pythons[0]} on PATH or under pyenv; uv fetches one"
  "$uv" python install "${pythons[0]}" || die "Python ${pythons[0]} could not be fetched. Install it (pyenv install ${pythons[0]}) and run this again."
  python=$("$uv" python find "${pythons[0]}")
fi

say "Python: $("$python" --version) · uv: $("$uv" --version | cut -d' ' -f2)"
venv_runs || "$uv" venv --quiet --clear --python "$python" "$VENV"
say "Installing $lock into $VENV (3 GB on disk; a minute or two the first time)"
# Hard links need the cache on the same file system; uv copies where they are not to be had.
# Compiled here once: where PYTHONDONTWRITEBYTECODE is set, each process would compile TFX anew (20 s).
# The newer row overrides what some packages say of each other, and the lock is complete.
only_lock=()
[ "$row" = 3.10 ] || only_lock=(--no-deps)
UV_LINK_MODE="${UV_LINK_MODE:-hardlink}" "$uv" pip install --compile-bytecode "${only_lock[@]}" --python "$VENV/bin/python" -r "$lock" \
  || die "The installation failed; the lines above say why (no Python.h: apt-get install python3-dev). Nothing else was changed; run this again."
"$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --editable .
echo "$(fingerprint) $PWD" > "$stamp"
say "Ready: $VENV/bin/vitrine --help"
