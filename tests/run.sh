#!/usr/bin/env bash
# Runs every test there is, after installing what is missing: `tests/run.sh`.
#
#   unit         unit and property tests of the crates; whether the fuzz targets still compile
#   loom         the lock-free protocols, every interleaving up to LOOM_MAX_PREEMPTIONS
#   integration  real processes and clients (tests/tests/*.rs) against the binary
#   redis        the pinned part of Redis's own suite (redis-tests/run.sh)
#
# Phases can be named to run only those: `tests/run.sh unit integration`.
# EAGLEDB_BIN replaces the binary under test; by default the ci profile is built.
set -euo pipefail
cd "$(dirname "$0")/.."
phases=("$@")
((${#phases[@]})) || phases=(unit loom integration redis)

unit() {
  cargo test --workspace --exclude eagledb-tests
  tests/fuzz.sh check
}

loom() {
  RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3} \
    cargo test --package eagle-core --lib --profile ci --target-dir target/loom models::
}

integration() {
  cargo test --package eagledb-tests
}

redis() {
  redis-tests/run.sh
}

tests/setup.sh
if [[ -z ${EAGLEDB_BIN:-} ]]; then
  cargo build --package eagledb --profile ci
  export EAGLEDB_BIN=$PWD/target/ci/eagledb
fi
for phase in "${phases[@]}"; do
  started=$SECONDS
  echo "== $phase"
  "$phase"
  echo "== $phase passed in $((SECONDS - started)) s"
done
