#!/usr/bin/env bash
# Packages the job server of the environment's Beam and fetches Flink into .tools/flink, for tests/flink.
# Does nothing, quickly, when they are there. Each row of the support matrix has its own Beam, and a job
# server is to be of the same version as its workers.
set -euo pipefail
cd "$(dirname "$0")/../.."

FLINK_VERSION=1.19.3
FLINK_SHA256=4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60
TARGET=.tools/flink

say() { printf '\033[1m[flink]\033[0m %s\n' "$*"; }
die() { printf '[flink] %s\n' "$*" >&2; exit 1; }

java_version() { java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p'; }

fingerprint() { (echo "$beam"; cat scripts/flink/*) | sha256sum | cut -c1-16; }

beam=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("apache-beam"))') \
  || die "No Beam was found in .venv: run make setup first."
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

say "Packaging the job server of Beam $beam (160 MB; two minutes the first time)"
mvn --batch-mode --quiet --strict-checksums -Dstyle.color=never -f scripts/flink/pom.xml \
  -Drevision="$beam" -Dwork="$PWD/$work/job-server" package \
  || die "Beam $beam has given no job server for Flink ${FLINK_VERSION%.*}; the lines above say why. Nothing else was changed; run this again."
mv "$work"/job-server/flink-job-server-*.jar "$work/job-server.jar"
rm -rf "$work/job-server"

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

c++ -O1 -Wall -shared -fPIC -o "$work/loopback.so" scripts/flink/loopback.cc -ldl \
  || die "loopback.cc could not be compiled; the lines above say why."

echo "$beam" > "$work/beam-version"
fingerprint > "$work/.fingerprint"
rm -rf "$TARGET"
mv "$work" "$TARGET"
say "Ready: make test now runs tests/flink too"
