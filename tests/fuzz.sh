#!/usr/bin/env bash
# Builds every fuzz target and runs each for a while: `tests/fuzz.sh [SECONDS [TARGET...]]` (default 30).
#
# The targets stand beside what they test (`eagle-*/fuzz`), as `cargo fuzz` wants them. This script needs neither that
# tool nor a nightly compiler: it passes the same instrumentation to the stable one. Corpora are kept in target/fuzz, so
# a later run goes on where this one stopped; an input that breaks something is left there too, and named. A corpus that is
# empty is filled with valid input first (tests/tests/fuzz_seeds.rs), which takes a build of the server.
#
# `tests/fuzz.sh check` only looks whether all targets compile against the crates as they are: without instrumentation, so
# that it takes seconds. `tests/run.sh unit` does that.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ${1:-} == check ]]; then
  # The fuzzing library itself is not needed for that: a name spares building it.
  export CUSTOM_LIBFUZZER_PATH=$PWD/target/libfuzzer.a
  for crate in eagle-core eagle-server; do
    cargo check --quiet --manifest-path $crate/fuzz/Cargo.toml --bins --target-dir target
  done
  exit
fi
seconds=${1:-30}
shift || true
corpora=$PWD/target/fuzz/corpus
if [[ ! -e $corpora/seeded ]]; then
  EAGLEDB_FUZZ_SEEDS=$corpora cargo test --quiet --package eagledb-tests --test fuzz_seeds
  touch "$corpora/seeded"
fi
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/target/fuzz
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares"

failed=0
for crate in eagle-core eagle-server; do
  # With a target named, build scripts and procedural macros are left as they are.
  (cd $crate/fuzz && cargo build --quiet --release --target x86_64-unknown-linux-gnu)
  for source in $crate/fuzz/fuzz_targets/*.rs; do
    name=$(basename "$source" .rs)
    (($# == 0)) || [[ " $* " == *" $name "* ]] || continue
    corpus=$corpora/$name
    mkdir -p "$corpus"
    log=target/fuzz/$name.log
    if target/fuzz/x86_64-unknown-linux-gnu/release/"$name" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 \
      -artifact_prefix=target/fuzz/"$name"- "$corpus" >"$log" 2>&1; then
      echo "$name: $(grep -c . <(ls "$corpus")) inputs, $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log") runs, nothing found"
    else
      echo "$name FAILED:"
      tail -n 15 "$log"
      failed=1
    fi
  done
done
exit $failed
