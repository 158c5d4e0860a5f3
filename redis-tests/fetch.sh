#!/usr/bin/env bash
# Unpacks Redis's own test suite, pinned at one version, into redis-tests/.work (git-ignored).
#
# The suite comes as the distribution's source package. The machine's own package sources are
# copied with source packages enabled, so nothing outside .work changes.
set -euo pipefail
cd "$(dirname "$0")"
version=7.0.15
tree=.work/redis-$version
[[ -f $tree/runtest ]] && exit 0

mkdir -p .work/apt/parts .work/apt/lists/partial
for file in /etc/apt/sources.list.d/*.sources; do
  [[ -e $file ]] && sed 's/^Types:.*/Types: deb-src/' "$file" >".work/apt/parts/${file##*/}"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [[ -e $file ]] && sed -n 's/^deb /deb-src /p' "$file" >".work/apt/parts/${file##*/}"
done
apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$PWD/.work/apt/parts"
  -o "Dir::State::lists=$PWD/.work/apt/lists")
"${apt[@]}" update
(cd .work && "${apt[@]}" source --download-only redis 2>/dev/null)
[[ -f .work/redis_$version.orig.tar.gz ]] || {
  echo "the distribution offers $(cd .work && ls ./*.orig.tar.gz), not redis $version" >&2
  exit 1
}
tar -xzf ".work/redis_$version.orig.tar.gz" -C .work
grep -q "REDIS_VERSION \"$version\"" "$tree/src/version.h"

# Some files call the tools by their place in the source tree.
ln -s "$(command -v redis-cli)" "$(command -v redis-benchmark)" "$tree/src/"
