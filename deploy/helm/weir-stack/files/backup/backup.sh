#!/bin/sh
# Backs up what must last, one component after the other, and says when each was last saved.
#
#   backup.sh grafana|prometheus|loki|postgres|keys …
#
# An archive is a folder BACKUP_DIR/COMPONENT/UTC-TIME with SHA256SUMS in it. It is made under another name and renamed
# when it is whole and on the disk, so whatever has a name of this form can be restored (restore.sh, docs/backup.md).
# POSIX sh; needs tar, gzip, sha256sum, and curl or wget with timeout; pg_dump for postgres.
#
#   BACKUP_DIR             where archives go
#   BACKUP_KEEP            how many of each component stay                       7
#   PUSHGATEWAY_URL        where the times are pushed, such as http://pushgateway:9091; nowhere if empty
#   GRAFANA_DATA           Grafana's folder with grafana.db (SQLite)             /var/lib/grafana
#   PROMETHEUS_URL         with --web.enable-admin-api                           http://127.0.0.1:9090
#   PROMETHEUS_DATA        its --storage.tsdb.path, as seen from here            /prometheus
#   LOKI_URL               asked to flush first; not asked if empty
#   LOKI_DATA              the folder of a Loki on a file system                 /var/loki
#   PGHOST PGPORT PGUSER   as for every PostgreSQL client
#   PG_DATABASES           names of databases, separated by blanks               grafana
#   PGPASSWORD_FILE        the password, on its first line
#   KEYS_DIR               a folder whose files are saved                        /keys
set -u
umask 077
export LC_ALL=C

: "${BACKUP_DIR:?is not set: the folder for the archives}"
keep=${BACKUP_KEEP:-7}
case $keep in '' | 0 | *[!0-9]*) echo "backup: BACKUP_KEEP=$keep is no number above 0" >&2; exit 2 ;; esac

say() { echo "backup: $*" >&2; }
# Only what is put in place of a failed command: the caller decides.
fail() { say "$*"; return 1; }

# A POST with standard input as the body; what the server answers is printed. Busybox' wget has a limit of its own (-T), by
# which Debian's 1.35 crashes.
post() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsS --max-time "${2:-300}" --data-binary @- "$1"
    else
        body=$(cat; echo .)
        timeout "${2:-300}" wget -q -O - --post-data "${body%.}" "$1"
    fi
}

# ------------------------------------------------------------------------------------------------ the components
# Each writes into the folder $1.

# SQLite's file, copied as it was at one moment: nobody wrote while it was copied if the copy equals the file before and
# after, and no journal was there.
steady_copy() {
    try=0
    while [ $try -lt 20 ]; do
        try=$((try + 1))
        if [ ! -s "$1-journal" ] && [ ! -s "$1-wal" ]; then
            before=$(sha256sum <"$1") && cp "$1" "$2" && copied=$(sha256sum <"$2") && after=$(sha256sum <"$1") || return 1
            [ -s "$1-journal" ] || [ -s "$1-wal" ] || [ "$before" != "$copied" ] || [ "$after" != "$copied" ] || return 0
        fi
        sleep 1
    done
    fail "$1 was written to in all of 20 tries"
}

save_grafana() {
    data=${GRAFANA_DATA:-/var/lib/grafana}
    [ -f "$data/grafana.db" ] || fail "$data/grafana.db is not there: with PostgreSQL save postgres instead" || return 1
    steady_copy "$data/grafana.db" "$1/grafana.db" || return 1
    # Plug-ins can be fetched again, but perhaps not in the same version.
    [ ! -d "$data/plugins" ] || tar -C "$data" -czf "$1/plugins.tar.gz" plugins
}

# The snapshot is made of hard links on Prometheus' own disk; it is there whole once the answer is there.
save_prometheus() {
    data=${PROMETHEUS_DATA:-/prometheus}
    answer=$(: | post "${PROMETHEUS_URL:-http://127.0.0.1:9090}/api/v1/admin/tsdb/snapshot" 1800) ||
        fail 'Prometheus made no snapshot: is --web.enable-admin-api on?' || return 1
    name=$(printf '%s' "$answer" | sed -n 's/.*"name":"\([0-9A-Za-z-]*\)".*/\1/p')
    [ -n "$name" ] && [ -d "$data/snapshots/$name" ] ||
        fail "the snapshot is not below $data: answer was $answer" || return 1
    tar -C "$data/snapshots/$name" -czf "$1/snapshot.tar.gz" .
    done=$?
    rm -rf "$data/snapshots/$name"
    return $done
}

# Chunks never change once written; the index does. GNU tar's 1 is `changed as we read it`: Loki replays its log of
# writes for the rest.
save_loki() {
    data=${LOKI_DATA:-/var/loki}
    [ -d "$data" ] || fail "$data is not there" || return 1
    if [ -n "${LOKI_URL:-}" ]; then
        : | post "$LOKI_URL/flush" 600 >/dev/null || say 'Loki did not flush; what it holds in memory is in its log of writes'
    fi
    tar -C "$data" -czf "$1/loki.tar.gz" .
    [ $? -le 1 ] && gzip -t "$1/loki.tar.gz"
}

save_postgres() {
    if [ -n "${PGPASSWORD_FILE:-}" ]; then
        PGPASSWORD=$(head -n 1 "$PGPASSWORD_FILE") || return 1
        export PGPASSWORD
    fi
    for database in ${PG_DATABASES:-grafana}; do
        # The custom form can be restored in part, and pg_restore reads its table of contents as a check.
        pg_dump --no-password --format=custom --file="$1/$database.dump" "$database" || return 1
        pg_restore --list "$1/$database.dump" >/dev/null || return 1
    done
}

save_keys() {
    data=${KEYS_DIR:-/keys}
    [ -n "$(ls -A "$data" 2>/dev/null)" ] || fail "$data has no files" || return 1
    # Files of a mounted Secret are links (-h) into a folder with a time for a name, which * leaves out.
    (
        to=$1
        cd "$data" || exit 1
        set --
        for file in * */*; do [ ! -f "$file" ] || set -- "$@" "$file"; done
        tar -chzf "$to/keys.tar.gz" -- "$@"
    )
}

# ------------------------------------------------------------------------------------------------------ one archive

newest() { ls "$BACKUP_DIR/$1" 2>/dev/null | grep -E '^[0-9]{8}T[0-9]{6}Z$' | sort; }

save() {
    folder=$BACKUP_DIR/$1
    mkdir -p "$folder" || return 1
    # Left by a run that was killed.
    rm -rf "$folder"/partial-*
    partial=$folder/partial-$$
    mkdir "$partial" && "save_$1" "$partial" || { rm -rf "$partial"; return 1; }
    (cd "$partial" && sha256sum -- * >SHA256SUMS) && sync || { rm -rf "$partial"; return 1; }
    name=$(date -u +%Y%m%dT%H%M%SZ)
    [ ! -e "$folder/$name" ] || { rm -rf "$partial"; fail "$folder/$name is there already"; return 1; }
    mv "$partial" "$folder/$name" && sync || return 1
    say "$1: $folder/$name, $(du -sk "$folder/$name" | cut -f 1) KiB"
    # Only after the new one is there. A failed run removes nothing, so the last good one always stays.
    newest "$1" | head -n -"$keep" | while read -r old; do rm -rf "${folder:?}/$old"; done
}

# ------------------------------------------------------------------------------------------------------- when it was

# The times are kept beside the archives too, so that a pushgateway that forgot them has them after the next run.
moments() {
    file=$BACKUP_DIR/$1/times.prom
    for what in success failure; do
        metric=weir_stack_backup_last_${what}_timestamp_seconds
        value=$(sed -n "s/^$metric{component=\"$1\"} //p" "$file" 2>/dev/null)
        [ "$2" != "$what" ] || value=$(date +%s)
        [ -z "$value" ] || {
            echo "# HELP $metric When the last backup of the component ended with $what."
            echo "# TYPE $metric gauge"
            echo "$metric{component=\"$1\"} $value"
        }
    done
}

report() {
    mkdir -p "$BACKUP_DIR/$1" && moments "$1" "$2" >"$BACKUP_DIR/$1/.times" &&
        mv "$BACKUP_DIR/$1/.times" "$BACKUP_DIR/$1/times.prom" || { say "$1: its time could not be written"; return 1; }
    [ -z "${PUSHGATEWAY_URL:-}" ] ||
        post "$PUSHGATEWAY_URL/metrics/job/weir-stack-backup/component/$1" 30 <"$BACKUP_DIR/$1/times.prom" >/dev/null ||
        { say "$1: $PUSHGATEWAY_URL did not take its time"; return 1; }
}

[ $# -gt 0 ] || { say 'which component? grafana, prometheus, loki, postgres, keys'; exit 2; }
for component in "$@"; do
    case $component in
        grafana | prometheus | loki | postgres | keys) ;;
        *) say "$component is none of grafana, prometheus, loki, postgres, keys"; exit 2 ;;
    esac
done
failed=0
for component in "$@"; do
    if save "$component"; then outcome=success; else outcome=failure; say "$component: FAILED"; failed=1; fi
    report "$component" "$outcome" || failed=1
done
exit $failed
