#!/usr/bin/env bash
# Makes the virtual environment of the Python client tests, tests/.venv, once.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9>"${TMPDIR:-/tmp}/eagledb-venv.lock"
flock 9
.venv/bin/python -c 'import redis' 2>/dev/null && exit 0
python3 -m venv .venv
.venv/bin/pip install --quiet 'redis==8.1.0'
