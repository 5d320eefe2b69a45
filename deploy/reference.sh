#!/bin/sh
# Fresh reference points: SModelS 3.0.3 in an environment of its own (GPL; a second per model, minutes with full likelihoods).
#   deploy/reference.sh DATABASE MODELS.json OUTPUT.json [FOLDER]
# DATABASE: unpacked text database 3.0.0. FOLDER (default ~/.cache/protomodels/reference): environment and pickled database, made on
# first use (8 minutes), kept. PYTHON names the Python it is made with; the reference numbers are from 3.11 (sums differ from 3.12 on).
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,5s/^# *//p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
absolute() { printf '%s/%s\n' "$(cd "$(dirname "$1")" && pwd)" "$(basename "$1")"; }
database=$(absolute "$1") models=$(absolute "$2") output=$(absolute "$3")
folder=${4:-${XDG_CACHE_HOME:-$HOME/.cache}/protomodels/reference}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
peer=$folder/venv/bin/python
requirements=$root/deploy/reference-requirements.txt
cd "$root"
if ! cmp -s "$requirements" "$folder/installed"; then
    "${PYTHON:-python3}" -m venv "$folder/venv"
    "$peer" -m pip install --quiet --requirement "$requirements"
    cp "$requirements" "$folder/installed"
fi
if [ ! -f "$folder/prepared" ]; then
    rm -rf "$folder/database"
    "$peer" -m benchmarks.smodels_peer prepare "$database" "$folder/database"
    touch "$folder/prepared"
fi
exec "$peer" -m benchmarks.smodels_peer predict "$folder/database" "$models" "$output"
