#!/usr/bin/env bash
# Fetches Flink and packages Beam's job server into .tools/flink, for tests/flink.
# Does nothing, quickly, when they are there.
set -euo pipefail
cd "$(dirname "$0")/../.."

FLINK_VERSION=1.19.3
FLINK_SHA256=4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60
TARGET=.tools/flink

say() { printf '\033[1m[flink]\033[0m %s\n' "$*"; }
die() { printf '[flink] %s\n' "$*" >&2; exit 1; }

java_version() { java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p'; }

fingerprint() { cat scripts/flink/* | sha256sum | cut -c1-16; }

if [ -f "$TARGET/.fingerprint" ] && [ "$(cat "$TARGET/.fingerprint")" = "$(fingerprint)" ]; then
  exit 0
fi

missing="On Debian or Ubuntu: apt-get install openjdk-17-jre-headless maven"
version=$(java_version || true)
[ -n "$version" ] || die "No Java was found; Flink needs Java 17. $missing"
[ "$version" = 17 ] || say "Java $version is here; this was tried with Java 17"
command -v mvn >/dev/null 2>&1 || die "No Maven was found; it packages Beam's job server. $missing"
uv=.tools/uv/bin/uv
[ -x "$uv" ] || uv=$(command -v uv) || die "No uv was found: run make setup first."

work=$TARGET.new
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work/lib"

say "Fetching Flink $FLINK_VERSION (230 MB)"
"$uv" tool run --python .venv/bin/python pip download --quiet --no-cache-dir --no-deps \
  --no-binary :all: --dest "$work" "apache-flink-libraries==$FLINK_VERSION" \
  || die "Flink could not be fetched; the lines above say why. Run this again."
archive=$work/apache-flink-libraries-$FLINK_VERSION.tar.gz
echo "$FLINK_SHA256  $archive" | sha256sum --check --quiet || die "$archive is not what was expected."
# The cluster alone: neither tables nor connectors.
tar --no-same-owner -xzf "$archive" -C "$work/lib" --strip-components=3 --wildcards \
  '*/deps/lib/flink-dist-*.jar' '*/deps/lib/log4j-*.jar'
rm "$archive"

say "Packaging Beam's job server (160 MB; two minutes the first time)"
mvn --batch-mode --quiet --strict-checksums -Dstyle.color=never -f scripts/flink/pom.xml -Dwork="$PWD/$work/job-server" package \
  || die "The packaging failed; the lines above say why. Run this again."
mv "$work"/job-server/flink-job-server-*.jar "$work/job-server.jar"
rm -rf "$work/job-server"

c++ -O1 -Wall -shared -fPIC -o "$work/loopback.so" scripts/flink/loopback.cc -ldl \
  || die "loopback.cc could not be compiled; the lines above say why."

fingerprint > "$work/.fingerprint"
rm -rf "$TARGET"
mv "$work" "$TARGET"
say "Ready: make test now runs tests/flink too"
