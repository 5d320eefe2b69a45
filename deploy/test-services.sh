#!/bin/sh
# What the whole test suite wants beside Python: a browser and a PostgreSQL server on this machine.
# Installs Debian's packages where it may, starts a server of its own, prints the environment to use it; never fails.
set -u
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    missing=""
    [ -x /usr/bin/chromium ] || missing="$missing chromium"
    [ -d /usr/lib/postgresql ] || missing="$missing postgresql"
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086  # a list of package names
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >&2 || true
    fi
fi
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
[ -n "$bin" ] || exit 0
port=${TEST_POSTGRES_PORT:-54329}
data=$(mktemp -d /tmp/pm-postgres-XXXXXX) || exit 0
run() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/sh -c "$1"; else sh -c "$1"; fi; }
[ "$(id -u)" != 0 ] || chown postgres "$data" || exit 0
run "$bin/initdb -D $data/db -A trust -U protomodels >/dev/null 2>&1 &&
    $bin/pg_ctl -D $data/db -w -l $data/log -o \"-p $port -k $data -c listen_addresses=127.0.0.1 -c fsync=off\" start >/dev/null 2>&1 &&
    $bin/createdb -h 127.0.0.1 -p $port -U protomodels protomodels_tests" || exit 0
echo "export PROTOMODELS_TEST_POSTGRES=postgresql://protomodels@127.0.0.1:$port/protomodels_tests"
echo "TEST_POSTGRES_STOP='$bin/pg_ctl -D $data/db -m immediate stop'; TEST_POSTGRES_DATA=$data"
