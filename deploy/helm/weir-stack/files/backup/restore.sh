#!/bin/sh
# Restores one component from an archive that backup.sh made. What it belongs to must be stopped (docs/backup.md).
#
#   restore.sh COMPONENT [ARCHIVE]      ARCHIVE: a time such as 20260102T030405Z; the newest without
#
# The checksums are compared first. Nothing is written over: a folder that holds something is refused, or with
# RESTORE_ASIDE=yes what it holds is moved into before-restore-TIME within it. Databases must be empty.
# The variables are those of backup.sh.
set -u
umask 077
export LC_ALL=C

: "${BACKUP_DIR:?is not set: the folder with the archives}"

die() { echo "restore: $*" >&2; exit 1; }

# Makes room in a folder.
empty() {
    [ -d "$1" ] || die "$1 is not there: is its volume mounted?"
    aside=before-restore-$(date -u +%Y%m%dT%H%M%SZ)
    held=$(ls -A "$1" | grep -v -e '^before-restore-' -e '^lost+found$')
    [ -n "$held" ] || return 0
    [ "${RESTORE_ASIDE:-}" = yes ] || die "$1 is not empty; with RESTORE_ASIDE=yes what is in it is moved into $aside"
    mkdir "$1/$aside" || die "cannot write to $1"
    printf '%s\n' "$held" | while IFS= read -r name; do mv "$1/$name" "$1/$aside/" || exit 1; done ||
        die "could not move all of $1 into $aside"
}

# Root gives what it restored to whom the folder belongs.
own() { [ "$(id -u)" != 0 ] || chown -R "$(stat -c %u:%g "$1")" "$1"; }

restore_grafana() {
    data=${GRAFANA_DATA:-/var/lib/grafana}
    empty "$data"
    cp "$1/grafana.db" "$data/grafana.db" || return 1
    [ ! -f "$1/plugins.tar.gz" ] || tar -C "$data" -xzf "$1/plugins.tar.gz" || return 1
    own "$data"
}

restore_prometheus() {
    data=${PROMETHEUS_DATA:-/prometheus}
    empty "$data"
    tar -C "$data" -xzf "$1/snapshot.tar.gz" && own "$data"
}

restore_loki() {
    data=${LOKI_DATA:-/var/loki}
    empty "$data"
    tar -C "$data" -xzf "$1/loki.tar.gz" && own "$data"
}

restore_postgres() {
    if [ -n "${PGPASSWORD_FILE:-}" ]; then
        PGPASSWORD=$(head -n 1 "$PGPASSWORD_FILE") || return 1
        export PGPASSWORD
    fi
    for database in ${PG_DATABASES:-grafana}; do
        tables=$(psql --no-password -qtAX -d "$database" -c \
            "select count(*) from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema')") ||
            die "database $database cannot be reached: createdb it first, with its owner"
        [ "$tables" = 0 ] || die "database $database has $tables tables: restore into an empty one (dropdb, createdb)"
        # All or nothing. The owner is whoever restores, since roles are not in the dump.
        pg_restore --no-password --exit-on-error --single-transaction --no-owner --no-privileges \
            --dbname="$database" "$1/$database.dump" || return 1
    done
}

restore_keys() {
    data=${KEYS_DIR:-/keys}
    empty "$data"
    tar -C "$data" -xzf "$1/keys.tar.gz"
}

component=${1:-}
case $component in
    grafana | prometheus | loki | postgres | keys) ;;
    *) die 'which component? grafana, prometheus, loki, postgres, keys' ;;
esac
archive=${2:-$(ls "$BACKUP_DIR/$component" 2>/dev/null | grep -E '^[0-9]{8}T[0-9]{6}Z$' | sort | tail -n 1)}
[ -n "$archive" ] || die "no archive of $component in $BACKUP_DIR"
folder=$BACKUP_DIR/$component/$archive
[ -d "$folder" ] || die "$folder is not there; there are: $(ls "$BACKUP_DIR/$component" 2>/dev/null | tr '\n' ' ')"
(cd "$folder" && sha256sum -c SHA256SUMS >/dev/null) || die "$folder is damaged: its checksums differ. Take another archive"
"restore_$component" "$folder" || die "$component: FAILED"
echo "restore: $component is as of $archive" >&2
