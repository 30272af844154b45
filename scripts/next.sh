#!/usr/bin/env bash
# Runs a command in a Debian 13 under .tools/next, in which the newer row of the support matrix is
# set up: `scripts/next.sh .venv/bin/python -m pytest tests/serving`. Builds it the first time.
# With VITRINE_NEXT_RELEASE=noble it is an Ubuntu 24.04, whose Python is 3.12.
#
# Mounts are made in a mount namespace of their own and processes in one of theirs, so that both
# are gone with this script, interrupted, killed or not. The folder $VITRINE_NEXT_SHARE is there, too, under
# the same name. Returns 0 and says why where mounting is not allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

RELEASE=${VITRINE_NEXT_RELEASE:-trixie}
PACKAGES=ca-certificates,g++,git,make,python3,python3-dev,python3-venv
NEXT=$PWD/.tools/next
ROOT=$NEXT/$RELEASE
PROJECT=/vitrine  # in the root

say() { printf '\033[1m[next]\033[0m %s\n' "$*"; }
skip() { say "Skipped: $*"; exit 0; }
die() { printf '[next] %s\n' "$*" >&2; exit 1; }

# All releases of Ubuntu share one script, under names that an older debootstrap may lack.
case $RELEASE in
  trixie) NAME="Debian 13" MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian} PARTS=main KEYRING=debian-archive-keyring SCRIPT=sid ;;
  noble) NAME="Ubuntu 24.04" MIRROR=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu} PARTS=main,universe KEYRING=ubuntu-archive-keyring SCRIPT=gutsy ;;
  *) die "VITRINE_NEXT_RELEASE should be trixie (Debian 13) or noble (Ubuntu 24.04), received $RELEASE." ;;
esac

may_run() {
  [ "$(uname -sm)" = "Linux x86_64" ] || skip "TFX has wheels for Linux on x86-64 alone."
  [ "$(id -u)" = 0 ] || skip "only root may mount and chroot."
  command -v debootstrap >/dev/null 2>&1 || skip "no debootstrap. On Debian or Ubuntu: apt-get install debootstrap"
  [ -f "/usr/share/keyrings/$KEYRING.gpg" ] || skip "no keys of $NAME in /usr/share/keyrings/$KEYRING.gpg. A package of its archive has them: ${KEYRING/ubuntu-archive/ubuntu}."
  mkdir -p "$NEXT"
  unshare --mount --pid --fork mount -t proc proc "$NEXT" 2>/dev/null \
    && unshare --mount chroot / true 2>/dev/null || skip "this machine does not let root mount and chroot (a container?)."
}

fingerprint() { echo "$RELEASE $PACKAGES" | sha256sum | cut -c1-16; }

build() {
  [ -f "$ROOT/.fingerprint" ] && [ "$(cat "$ROOT/.fingerprint")" = "$(fingerprint)" ] && return
  say "Building $NAME in $ROOT (1 GB; two minutes)"
  rm -rf "$ROOT.new"
  debootstrap --variant=minbase --components="$PARTS" --include="$PACKAGES" "$RELEASE" "$ROOT.new" "$MIRROR" \
    "/usr/share/debootstrap/scripts/$SCRIPT" >"$ROOT.log" \
    || die "debootstrap failed; $ROOT.log says why. Run this again."
  fingerprint > "$ROOT.new/.fingerprint"
  rm -rf "$ROOT"
  mv "$ROOT.new" "$ROOT"
}

mount_root() {
  mkdir -p "$ROOT$PROJECT" "$ROOT/data"
  mount -t proc proc "$ROOT/proc"
  mount --rbind /dev "$ROOT/dev"
  find "$ROOT/tmp" -mindepth 1 -delete
  # Names, and the authorities of a proxy, are those of this machine.
  cp --dereference /etc/resolv.conf "$ROOT/etc/resolv.conf"
  [ ! -f /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
  [ ! -d "${VITRINE_DATA_HOME:-}" ] || mount --bind -o ro "$VITRINE_DATA_HOME" "$ROOT/data"
  if [ -n "${VITRINE_NEXT_SHARE:-}" ]; then
    mkdir -p "$ROOT$VITRINE_NEXT_SHARE"
    mount --bind "$VITRINE_NEXT_SHARE" "$ROOT$VITRINE_NEXT_SHARE"
  fi
}

# The files of the project, without what this machine has made of them, as one commit.
copy_project() {
  find "$ROOT$PROJECT" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .tools ! -name runs -exec rm -rf {} +
  git ls-files --cached --others --exclude-standard -z | { xargs -0 ls -d 2>/dev/null || true; } \
    | tar --create --files-from=- | tar --extract --no-same-owner --directory "$ROOT$PROJECT"
  git -C "$ROOT$PROJECT" init --quiet
  git -C "$ROOT$PROJECT" add --all
  git -C "$ROOT$PROJECT" -c user.name=next -c user.email=next@localhost commit --quiet --message next
}

inside() {
  env --unset=PYTHONPATH VITRINE_ROW=auto HOME=/root LC_ALL=C.UTF-8 VITRINE_DATA_HOME=/data \
    PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    chroot "$ROOT" bash -c 'cd "$1" && shift && "$@"' bash "$PROJECT" "$@"
}

[ $# -gt 0 ] || die "Which command? For instance: scripts/next.sh .venv/bin/vitrine doctor"
if [ -z "${VITRINE_NEXT_APART:-}" ]; then
  may_run
  set -m  # else a process in the background ignores SIGINT, and so do the tests of it
  VITRINE_NEXT_APART=1 setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private "$0" "$@" <&0 &
  set +m
  # The first process of a namespace is deaf to other signals; all the others die with it.
  trap 'kill -KILL $!' EXIT HUP INT TERM
  code=0
  wait $! || code=$?
  trap - EXIT
  exit "$code"
fi
unset VITRINE_NEXT_APART
exec 9>"$ROOT.lock"
flock --nonblock 9 || die "Another one runs in $ROOT."
build
mount_root
copy_project
inside scripts/bootstrap.sh
inside "$@"
