#!/bin/sh
# Options and scripts are node's; everything else is a command.
set -eu

if [ "${1#-}" != "${1-}" ] || ! command -v "${1-}" >/dev/null 2>&1 || { [ -f "$1" ] && [ ! -x "$1" ]; }; then
  set -- node "$@"
fi
exec "$@"
