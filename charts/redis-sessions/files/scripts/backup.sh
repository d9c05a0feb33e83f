#!/bin/sh
# Copy what Redis holds into $BACKUP_DIR, as RDB files: one of each primary in a cluster, else one. A file has its
# name only when it is whole and checked. $KEEP backups are kept.
set -eu
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
BACKUP_DIR=${BACKUP_DIR:-/backup}
stamp=$(date -u +%Y%m%dT%H%M%SZ)

copy() { # HOST PORT NAME
  file=$BACKUP_DIR/$stamp-$3.rdb
  CLI_TIMEOUT=${DUMP_TIMEOUT:-3600} cli replication "$1" "$2" --rdb "$file.part" >&2
  valkey-check-rdb "$file.part" >&2 || fail "the copy of $1 is not whole"
  mv "$file.part" "$file"
  log "wrote $file ($(wc -c <"$file") bytes)"
}

rm -f "$BACKUP_DIR"/*.part
case $MODE in
  standalone) copy "$(host_of 0)" "$PORT" 0 ;;
  sentinel)
    # From a replica that is in step, so that the primary need not fork.
    primary=$(primary_by_sentinels)
    from=$primary
    for i in $(ordinals "$NODES"); do
      host=$(host_of "$i")
      [ "$host" != "$primary" ] && cli probe "$host" "$PORT" INFO replication 2>/dev/null | tr -d '\r' |
        grep -q '^master_link_status:up$' && from=$host && break
    done
    [ -n "$from" ] || fail 'no Sentinel knows a primary'
    copy "$from" "$PORT" 0
    ;;
  cluster)
    number=0
    cli failover "$(host_of 0)" "$PORT" CLUSTER NODES | tr -d '\r' |
      awk '$3 ~ /master/ && $3 !~ /fail/ && NF > 8 { split($2, a, "@"); print a[1] }' >"$RUN_DIR/primaries"
    [ -s "$RUN_DIR/primaries" ] || fail 'the cluster has no primaries'
    while read -r address; do
      copy "${address%:*}" "${address##*:}" "$number" </dev/null
      number=$((number + 1))
    done <"$RUN_DIR/primaries"
    ;;
esac
ls "$BACKUP_DIR" | sed -n 's/-[0-9]*\.rdb$//p' | sort -ru | tail -n +"$((KEEP + 1))" | while read -r old; do
  log "removing $old"
  rm -f "$BACKUP_DIR/$old"-*.rdb
done
