#!/bin/sh
# What is in /docker-entrypoint.d, in order, and then the command.
set -eu

case ${1:-} in
  nginx | nginx-debug)
    for file in /docker-entrypoint.d/*; do
      [ -x "$file" ] && [ -f "$file" ] || continue
      case $file in
        *.envsh) . "$file" ;;
        *.sh) "$file" ;;
      esac
    done
    ;;
esac
exec "$@"
