#!/usr/bin/env bash
# Installs what the tests need beyond the Rust toolchain: redis-server and its tools (the
# reference), tcl (Redis's own suite) and a Python environment with redis-py.
set -euo pipefail
cd "$(dirname "$0")"

declare -A packages=([redis-server]=redis-server [redis-cli]=redis-tools [redis-benchmark]=redis-tools
  [tclsh]=tcl [python3]=python3 [setpriv]=util-linux [timeout]=coreutils)
missing=()
for tool in "${!packages[@]}"; do
  command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get -qq update
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install --yes "${missing[@]}"
  # The package starts a server of its own, which nobody here asked for.
  "${as_root[@]}" service redis-server stop 2>/dev/null || true
fi
redis-server --version | grep -q 'v=7\.0\.15' ||
  echo "warning: the reference should be redis-server 7.0.15, this is $(redis-server --version)" >&2

clients/venv.sh
