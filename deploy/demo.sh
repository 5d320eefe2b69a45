#!/bin/sh
# The demonstration: a campaign on the embedded results with its live page.
# usage: demo.sh DIRECTORY PORT     (DEMO_SERVE=0 ends after the campaign)
set -eu
directory=${1:-demo-run}
port=${2:-8000}
mkdir -p "$directory"
database="sqlite:///$directory/campaigns.db"

page=""
stop_page() { [ -z "$page" ] || kill "$page" 2>/dev/null || true; }
trap stop_page EXIT INT TERM
if [ "${DEMO_SERVE:-1}" != 0 ]; then
    protomodels serve --database "$database" --port "$port" &
    page=$!
    printf 'Live page: http://127.0.0.1:%s\n' "$port"
fi
protomodels run demo --database "$database"
if [ -n "$page" ]; then
    printf '\nThe page stays up at http://127.0.0.1:%s (Ctrl-C ends it).\n' "$port"
    wait "$page"
fi
