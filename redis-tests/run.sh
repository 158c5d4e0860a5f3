#!/usr/bin/env bash
# Runs the pinned part of Redis's own test suite against a server binary: in external mode, as a standalone
# server, as one that refuses DEBUG and protected settings (nodebug), and as a cluster of one node that owns
# all slots; and in internal mode, in which the suite starts the servers itself, as its own tree's src/redis-server.
#
# usage: redis-tests/run.sh [--mode standalone|nodebug|cluster|internal] [--no-skip] [FILE...]
#   EAGLEDB_BIN  the server binary (default: target/release/eagledb)
#   REDIS_TESTS_PORT  first of the 1200 ports the run may use (default: 10500)
#   FILE         only these files, such as unit/type/string
#   --no-skip    ignore the skip lists; with EAGLEDB_BIN=redis-server this measures the suite itself
#
# Every test that is not listed in skip/FILE.txt must pass, and every listed one must still fail:
# a skip that would pass fails the run. A line that begins with '~ ' names a test that fails only
# because a skipped one before it did not run; it is not run by itself. 'MODE: ' before a name makes the
# line count in that mode only ('standalone: ' in nodebug too). Logs are in redis-tests/.work/log.
set -euo pipefail
cd "$(dirname "$0")"
binary=${EAGLEDB_BIN:-$PWD/../target/release/eagledb}
file_seconds_max=300
port_base=${REDIS_TESTS_PORT:-10500}
modes=(standalone nodebug cluster internal) skipping=yes files=()
while (($#)); do
  case $1 in
    --mode) modes=("$2") && shift ;;
    --no-skip) skipping=no ;;
    -*) sed -n '2,/^set/{/^#/p}' "$0" && exit 2 ;;
    *) files+=("$1") ;;
  esac
  shift
done
./fetch.sh

# start_server MODE: one fresh server per file, so that a crash costs one file only.
start_server() {
  dir=$(mktemp -d) port=$port_base
  local cluster=no allowed=yes
  [[ $1 == cluster ]] && cluster=yes port=$((port_base + 300))
  [[ $1 == nodebug ]] && allowed=no port=$((port_base + 900))
  : >"$log.server"
  # As a shell reads them: '""' is an empty value.
  eval "local server_args=($server_options)"
  "$binary" --port "$port" --bind 127.0.0.1 --dir "$dir" --save "" --cluster-enabled $cluster \
    --enable-protected-configs $allowed --enable-debug-command $allowed --enable-module-command $allowed \
    "${server_args[@]}" >"$log.server" 2>&1 &
  server=$!
  for _ in {1..200}; do
    grep -q 'Ready to accept connections' "$log.server" && break
    sleep 0.05
  done
  if [[ $1 == cluster ]]; then
    redis-cli -p "$port" cluster addslotsrange 0 16383 >/dev/null
    for _ in {1..200}; do
      redis-cli -p "$port" cluster info | grep -q cluster_state:ok && break
      sleep 0.05
    done
  fi
}

stop_server() {
  kill -9 "$server" 2>/dev/null || echo "the server died" >>"$log"
  wait "$server" 2>/dev/null || true
  rm -rf "$dir"
}

# run_suite MODE FILE LOG OPTION...: one run of one file, its output in LOG.
run_suite() {
  local mode=$1 file=$2 log=$3 options=() tags=-slow
  shift 3
  if [[ $mode == internal ]]; then
    # --name value for a server is --config name value for the suite, which writes it to a file as it is.
    read -ra options <<<"${server_options//--/--config }"
    (cd .work/internal && TERM=dumb timeout $file_seconds_max ./runtest --clients 1 --single "$file" \
      --durable --timeout 90 --baseport $((port_base + 600)) --portcount 290 \
      "${options[@]}" "$@") >"$log" 2>&1 ||
      echo "runtest ended with $?" >>"$log"
    return
  fi
  [[ $mode == cluster ]] && options=(--cluster-mode)
  [[ $mode == nodebug ]] && tags+=' -needs:debug'
  start_server "$mode"
  (cd ".work/$mode" && TERM=dumb timeout $file_seconds_max ./runtest --host 127.0.0.1 --port "$port" \
    --single "$file" --tags "$tags" --durable --timeout 90 --baseport $((port + 100)) --portcount 90 \
    "${options[@]}" "$@") >"$log" 2>&1 || echo "runtest ended with $?" >>"$log"
  stop_server
}

count() { grep -c "^\[$1\]" "$2" || true; }

# run_file MODE FILE COUNT: prints one line; fails when a test fails or a skip is stale.
run_file() {
  local mode=$1 file=$2 reference=$3
  local log=.work/log/$mode/${file//\//.} skips=() only=() skip stale=0
  if [[ $skipping == yes && -f skip/$file.txt ]]; then
    while IFS= read -r skip; do
      case $skip in
        "$mode: "* | "${mode/nodebug/standalone}: "*) skip=${skip#*: } ;;
        'standalone: '* | 'nodebug: '* | 'cluster: '* | 'internal: '*) continue ;;
      esac
      skips+=(--skiptest "${skip#'~ '}")
      [[ $skip == '~ '* ]] || only+=(--only "$skip")
    done < <(grep -v '^#' "skip/$file.txt" | grep .)
  fi
  run_suite "$mode" "$file" "$PWD/$log" "${skips[@]}"
  if ((${#only[@]})); then
    run_suite "$mode" "$file" "$PWD/$log.skipped" "${only[@]}"
    stale=$(count ok "$log.skipped")
  fi
  local ok err skipped verdict=ok
  ok=$(count ok "$log") err=$(count '\(err\|exception\|TIMEOUT\)' "$log") skipped=$(count skip "$log")
  if ((err || stale)) || ! grep -q 'The End' "$log" || grep -q 'the server died' "$log"; then
    verdict=FAILED
  fi
  printf '%-11s %-26s %5d %7d %8d %7d  %s\n' "$mode" "$file" "$ok" "$err" "$skipped" "$reference" $verdict
  echo "$mode $ok $err $skipped $reference" >>.work/log/totals
  [[ $verdict == ok ]] && return
  grep -A12 '^\[\(err\|exception\|TIMEOUT\)\]' "$log" || tail -5 "$log"
  ((stale == 0)) || sed -n 's/^\[ok\]/stale skip, it passes/p' "$log.skipped"
  return 1
}

# The server under test takes the place of redis-server in the source tree; it must be a real file, as
# the suite looks at the name and the number of the process. The tools are the distribution's.
install_server() {
  local tool
  cp --remove-destination "$(command -v "$binary")" .work/internal/src/redis-server
  for tool in redis-cli redis-benchmark redis-check-aof redis-check-rdb; do
    ln -sf "$(command -v $tool)" .work/internal/src/
  done
}

run_mode() {
  local mode=$1 failed=0 file standalone cluster internal reference
  mkdir -p ".work/log/$mode"
  # Each mode has its own tree: a run clears its tree's temporary folder.
  [[ -d .work/$mode ]] || cp -a .work/redis-7.0.15 ".work/$mode"
  [[ $mode != internal ]] || install_server
  while read -r file standalone nodebug cluster internal server_options; do
    ((${#files[@]} == 0)) || [[ " ${files[*]} " == *" $file "* ]] || continue
    reference=${!mode}
    # They are EagleDB's own.
    [[ ${binary##*/} != redis-server ]] || server_options=
    [[ $reference != - ]] || continue
    run_file "$mode" "$file" "$reference" || failed=1
  done < <(grep -v '^#' files.txt)
  return $failed
}

printf '%-11s %-26s %5s %7s %8s %7s\n' mode file ok failed skipped 7.0.15
mkdir -p .work/log && : >.work/log/totals
jobs=()
for mode in "${modes[@]}"; do
  run_mode "$mode" &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do
  wait "$job" || failed=1
done
for mode in "${modes[@]}"; do
  awk -v mode="$mode" '$1 == mode { ok += $2; err += $3; skip += $4; ref += $5; files++ } END {
    printf "%-11s %-26s %5d %7d %8d %7d\n", mode, files " files", ok, err, skip, ref }' .work/log/totals
done
exit $failed
