#!/usr/bin/env bash
# Runs real libraries from the package registries against a cluster of three EagleDB nodes:
# a job queue (BullMQ), a cache (dogpile.cache) and a rate limiter (limits), as their users would.
#
# usage: tests/applications/run.sh
#   EAGLEDB_BIN  the server binary; by default the ci profile is built
set -euo pipefail
cd "$(dirname "$0")"
installed=$PWD/../.applications
base_port=${APPLICATIONS_PORT:-17300}
missing=()

if [[ -z ${EAGLEDB_BIN:-} ]]; then
  (cd ../.. && cargo build --package eagledb --profile ci)
  EAGLEDB_BIN=$PWD/../../target/ci/eagledb
fi
for tool in node npm python3; do
  command -v $tool >/dev/null || missing+=($([[ $tool == node ]] && echo nodejs || echo $tool))
done
if ((${#missing[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get -qq update
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install --yes "${missing[@]}"
fi

mkdir -p "$installed"
if [[ ! -d $installed/node_modules/bullmq ]]; then
  npm install --silent --no-audit --no-fund --prefix "$installed" bullmq@5.81.5 ioredis@5.11.1
fi
if ! "$installed/venv/bin/python" -c 'import limits, dogpile.cache' 2>/dev/null; then
  python3 -m venv "$installed/venv"
  "$installed/venv/bin/pip" install --quiet 'limits[rediscluster]==5.8.0' 'dogpile.cache==1.5.0' 'redis==8.1.0'
fi

dir=$(mktemp -d)
"$EAGLEDB_BIN" cluster start --nodes 3 --base-port "$base_port" --dir "$dir" >"$dir/log" 2>&1 &
cluster=$!
trap 'kill -INT $cluster 2>/dev/null; wait $cluster 2>/dev/null; rm -rf "$dir"' EXIT
for _ in {1..300}; do
  redis-cli -p "$base_port" cluster info 2>/dev/null | grep -q 'cluster_state:ok' && break
  sleep 0.1
done

failed=0
check() {
  echo "== $*"
  timeout 120 "$@" || failed=1
}
# Where node looks for what a script in another folder imports.
cp queue.mjs "$installed/queue.mjs"
check node "$installed/queue.mjs" "$base_port"
check "$installed/venv/bin/python" cache.py "$base_port"
check "$installed/venv/bin/python" limiter.py "$base_port"
((failed == 0)) || { echo "some applications failed" >&2; tail -n 20 "$dir"/log >&2; exit 1; }
echo "all applications work"
