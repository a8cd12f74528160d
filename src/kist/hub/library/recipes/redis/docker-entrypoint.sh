#!/bin/sh
# The command, as the user redis; options alone, or a configuration file, are redis-server's.
set -eu

case ${1:-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis: {} +
    exec setpriv --reuid=redis --regid=redis --init-groups -- "$0" "$@"
  fi
  case " $* " in
    *.conf\ * | *' --protected-mode '*) ;;
    # A container's own network is all that can reach it: what is published, its user has published.
    *) set -- "$@" --protected-mode no ;;
  esac
  [ "$(umask)" != 0022 ] || umask 0077
fi
exec "$@"
