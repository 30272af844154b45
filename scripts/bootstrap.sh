#!/usr/bin/env bash
# Finds or fetches Python 3.10 and uv, and installs requirements.lock into .venv.
# Does nothing, quickly, when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.8
VENV=.venv
TOOLS=.tools

say() { printf '\033[1m[set-up]\033[0m %s\n' "$*"; }
die() { printf '[set-up] %s\n' "$*" >&2; exit 1; }

# A shim that is on PATH may belong to a version that pyenv has not selected, so run it.
runs_310() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' >/dev/null 2>&1; }

find_python() {
  if runs_310 python3.10; then command -v python3.10; return; fi
  local root version
  root="${PYENV_ROOT:-$HOME/.pyenv}"
  for version in $(ls -1 "$root/versions" 2>/dev/null | grep '^3\.10' | sort -rV); do
    if runs_310 "$root/versions/$version/bin/python3.10"; then
      echo "$root/versions/$version/bin/python3.10"; return
    fi
  done
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

fingerprint() { cat requirements.lock setup.py scripts/bootstrap.sh | sha256sum | cut -c1-16; }

stamp="$VENV/.vitrine-installed"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint) $PWD" ] && runs_310 "$VENV/bin/python"; then
  exit 0
fi

command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 \
  || die "No C++ compiler, and one dependency of TFX (pyfarmhash) is compiled. On Debian or Ubuntu: apt-get install g++"

python=$(find_python)
uv=$(find_uv "$python")
[ -n "$uv" ] || die "Neither uv nor a Python that can make a virtual environment was found. Install one: https://docs.astral.sh/uv/"
if [ -z "$python" ]; then
  say "No Python 3.10 on PATH or under pyenv; uv fetches one"
  "$uv" python install 3.10 || die "Python 3.10 could not be fetched. Install it (pyenv install 3.10) and run this again."
  python=$("$uv" python find 3.10)
fi

say "Python: $("$python" --version) · uv: $("$uv" --version | cut -d' ' -f2)"
runs_310 "$VENV/bin/python" || "$uv" venv --quiet --clear --python "$python" "$VENV"
say "Installing requirements.lock into $VENV (3 GB on disk; a minute or two the first time)"
# Hard links need the cache on the same file system; uv copies where they are not to be had.
# Compiled here once: where PYTHONDONTWRITEBYTECODE is set, each process would compile TFX anew (20 s).
UV_LINK_MODE="${UV_LINK_MODE:-hardlink}" "$uv" pip install --compile-bytecode --python "$VENV/bin/python" -r requirements.lock \
  || die "The installation failed; the lines above say why. Nothing else was changed; run this again."
"$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --editable .
echo "$(fingerprint) $PWD" > "$stamp"
say "Ready: $VENV/bin/vitrine --help"
