#!/bin/sh
# /etc/nginx/templates/NAME.template becomes /etc/nginx/conf.d/NAME, the environment's variables filled in.
set -eu

from=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
to=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
[ -d "$from" ] || exit 0
if [ ! -w "$to" ]; then
  echo "$0: $to can't be written" >&2
  exit 0
fi

# Only variables that are set are filled in: nginx has variables of its own.
names=$(env | sed -n "s/^\(${NGINX_ENVSUBST_FILTER:-[A-Za-z_][A-Za-z0-9_]*}\)=.*/\${\1}/p")
find -L "$from" -type f -name "*$suffix" | sort | while IFS= read -r file; do
  name=${file#"$from/"}
  target=$to/${name%"$suffix"}
  mkdir -p "$(dirname "$target")"
  envsubst "$names" <"$file" >"$target"
done
