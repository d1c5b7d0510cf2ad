#!/bin/sh
# Redis, nginx, squid, promtool, Chromium and buildah for the tests, from Debian's packages, where that may be done: as root, with apt, with a network.
# Says what is missing and who will miss it; never fails. Starts nothing and leaves nothing running: the tests start their own.
set -u
PATH="$PATH:/usr/sbin:/usr/local/sbin"

missing=""
packages=""
want() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null || { missing="$missing $1"; packages="$packages $2"; }
}
want redis-server redis-server
want nginx nginx
want squid squid
want promtool prometheus
want openssl openssl
want chromium-headless-shell chromium-headless-shell
want buildah buildah
want debootstrap debootstrap
[ -z "$missing" ] && exit 0

say() { echo "tests/support/services.sh: $*"; }
skipped() { say "$1: without$missing the tests that need them are skipped, and say so"; exit 0; }
[ "$(id -u)" = 0 ] || skipped "not root"
command -v apt-get >/dev/null || skipped "no apt-get"

# Debian's packages start their services when they are installed, unless this file forbids it.
policy="${POLICY_RC_D:-/usr/sbin/policy-rc.d}"
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 0' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

say "installing$packages"
export DEBIAN_FRONTEND=noninteractive
quick="-qq -o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 -o DPkg::Lock::Timeout=60"
log=$(mktemp)
install() { timeout 300 apt-get $quick install -y --no-install-recommends $packages >"$log" 2>&1; }
# The lists may be good already; where they are missing or old, once more with new ones.
install || { timeout 120 apt-get $quick update >"$log" 2>&1 && install; } || { tail -n 3 "$log"; rm -f "$log"; skipped "apt-get failed"; }
rm -f "$log"
