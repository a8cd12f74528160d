#!/usr/bin/env bash
# The command; postgres runs as the user postgres, over a cluster that is made at the first start.
set -Eeuo pipefail
shopt -s nullglob

# from_file NAME: what the file in $NAME_FILE holds, if it is set, becomes $NAME.
from_file() {
  local name=$1 file="${1}_FILE"
  [ -n "${!file:-}" ] || return 0
  if [ -n "${!name:-}" ]; then
    echo "error: both $name and $file are set (but are exclusive)" >&2
    exit 1
  fi
  export "$name"="$(<"${!file}")"
  unset "$file"
}

# Files in /docker-entrypoint-initdb.d may call this, as they do in other people's images.
docker_process_sql() {
  local query=(psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER")
  [ -z "${POSTGRES_DB:-}" ] || query+=(--dbname "$POSTGRES_DB")
  PGHOST='' PGHOSTADDR='' "${query[@]}" "$@"
}

run_files() {
  local file
  for file in "$@"; do
    echo "$0: $file"
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) docker_process_sql -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | docker_process_sql ;;
      *.sql.xz) xz -dc "$file" | docker_process_sql ;;
      *.sql.zst) zstd -dc "$file" | docker_process_sql ;;
      *) echo "$0: $file is none of .sh, .sql, .sql.gz, .sql.xz, .sql.zst: passed over" ;;
    esac
  done
}

folders() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 00700 "$PGDATA" 2>/dev/null || :
  chmod 03775 /var/run/postgresql 2>/dev/null || :
  [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || mkdir -p "$POSTGRES_INITDB_WALDIR"
  if [ "$(id -u)" = 0 ]; then
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || chown -R postgres:postgres "$POSTGRES_INITDB_WALDIR"
    find "$PGDATA" ! -user postgres -exec chown postgres: {} +
    find /var/run/postgresql ! -user postgres -exec chown postgres: {} +
  fi
}

settings() {
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER
  from_file POSTGRES_DB
  from_file POSTGRES_INITDB_ARGS
  export POSTGRES_USER="${POSTGRES_USER:-postgres}"
  export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
  : "${POSTGRES_PASSWORD:=}" "${POSTGRES_INITDB_ARGS:=}" "${POSTGRES_INITDB_WALDIR:=}" "${POSTGRES_HOST_AUTH_METHOD:=}"
}

check_settings() {
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    cat >&2 <<'WORDS'
Error: Database is uninitialized and superuser password is not specified.
       You must specify POSTGRES_PASSWORD to a non-empty value for the
       superuser. For example, "-e POSTGRES_PASSWORD=password" on "kist run".

       You may also use "POSTGRES_HOST_AUTH_METHOD=trust" to allow all
       connections without a password. This is *not* recommended.
WORDS
    exit 1
  fi
  if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
    echo "warning: POSTGRES_HOST_AUTH_METHOD=trust lets everybody in who can reach the port" >&2
  fi
}

make_cluster() {
  local words='--username="$POSTGRES_USER"'
  [ -z "$POSTGRES_PASSWORD" ] || words+=' --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")'
  [ -z "$POSTGRES_INITDB_WALDIR" ] || words+=' --waldir="$POSTGRES_INITDB_WALDIR"'
  # The arguments are a command line's, quotes and all.
  eval "initdb $words $POSTGRES_INITDB_ARGS"
  printf '\n%s\n' "host all all all ${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
  printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
}

# A server that nobody from outside can reach, for as long as the database is filled.
fill_cluster() {
  local files=(/docker-entrypoint-initdb.d/*)
  export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
  PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}" -w start
  if ! POSTGRES_DB='' docker_process_sql --dbname postgres --tuples-only -v db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'db';" | grep -q 1; then
    POSTGRES_DB='' docker_process_sql --dbname postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    printf '\n'
  fi
  run_files "${files[@]}"
  PGUSER="${PGUSER:-postgres}" pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
}

wants_help() {
  local word
  for word in "$@"; do
    case $word in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
  done
  return 1
}

main() {
  [ "${1:0:1}" != - ] || set -- postgres "$@"
  if [ "${1:-}" = postgres ] && ! wants_help "$@"; then
    folders
    [ "$(id -u)" != 0 ] || exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$BASH_SOURCE" "$@"
    settings
    if [ -s "$PGDATA/PG_VERSION" ]; then
      printf '\n%s\n\n' 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
    else
      check_settings
      ls /docker-entrypoint-initdb.d/ >/dev/null # fails now, rather than in the middle, if it can't be read
      make_cluster
      fill_cluster
      printf '\n%s\n\n' 'PostgreSQL init process complete; ready for start up.'
    fi
  fi
  exec "$@"
}

main "$@"
