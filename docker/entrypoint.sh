#!/bin/sh
# Follows the conventions of the official Redis image:
#   options or a configuration file alone start the server with them;
#   as root, /data is handed to the server's user, and so are we;
#   any other command is run as it is.
set -e

case "${1:-}" in
  -* | *.conf) set -- eagledb "$@" ;;
esac

case "$1" in
  eagledb | redis-server)
    if [ "$(id -u)" = 0 ]; then
      find . ! -user redis -exec chown redis:redis {} +
      exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
    fi
    # Files of the server are nobody else's business, unless the caller decided otherwise.
    [ "$(umask)" != 0022 ] || umask 0077
    ;;
esac
exec "$@"
