#!/usr/bin/env bash
# Builds the images of compose.yml where no image can be pulled: the base is a minimal Debian made
# from packages by debootstrap(8), the binary is the one this machine builds.
#
#   docker/base-from-debian.sh              (as root)
#   docker-compose --file docker/compose.yml up --no-build
#
# The Docker engine comes with the package docker.io; where no init system starts it, run `dockerd`.
# MIRROR is the package mirror to take the base from; default: the machine's own.
set -euo pipefail
cd "$(dirname "$0")/.."
# Of the two places, few machines have both.
mirror=${MIRROR:-$({
  sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true
} | head -n 1)}
[[ -n $mirror ]] || { echo "no package mirror found: set MIRROR" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! docker image inspect eagledb-debian >/dev/null 2>&1; then
  debootstrap --variant=minbase bookworm "$work/debian" "$mirror"
  tar -C "$work/debian" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' -c . |
    docker import - eagledb-debian
  # The cluster is created by redis-cli, which the nodes' image does without.
  chroot "$work/debian" apt-get --quiet --yes install --no-install-recommends redis-tools
  tar -C "$work/debian" -c . | docker import - eagledb-debian-tools
fi

cargo build --release --locked --package eagledb
install -D target/release/eagledb "$work/binary/usr/local/bin/eagledb"
tar -C "$work/binary" -c . | docker import - eagledb-binary

# An empty context for what the build does not need: the sources are built already.
mkdir -p "$work/context/docker"
cp docker/entrypoint.sh "$work/context/docker/"
for target in runtime tools; do
  DOCKER_BUILDKIT=1 docker build --file docker/Dockerfile --target $target \
    --build-arg DEBIAN_IMAGE=eagledb-debian --build-arg TOOLS_IMAGE=eagledb-debian-tools --build-arg BINARY_IMAGE=eagledb-binary \
    --tag "$([[ $target == runtime ]] && echo eagledb || echo eagledb-tools)" "$work/context"
done
