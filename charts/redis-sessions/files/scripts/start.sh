#!/bin/sh
# Start the data server of this pod, in the role that it has now. Arguments go to valkey-server.
set -eu
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"

umask 077
write_acl "$CONFIG_DIR/users.acl" >"$RUN_DIR/users.acl"
[ -z "${RESTORE:-}" ] || sh "$CONFIG_DIR/restore.sh"

has_data() { [ -n "$(ls -A "$DATA_DIR/appendonlydir" 2>/dev/null)" ]; }

# In Sentinel mode they say who the primary is. A pod that lost its volume must not come back as the primary: its
# replicas would become as empty as it is. It waits until another one has been promoted.
find_primary() {
  tries=0
  while [ "$tries" -lt "${PATIENCE:-120}" ]; do
    found=$(primary_by_sentinels)
    if [ -n "$found" ] && [ "$found" != "$me" ]; then
      primary=$found
      return
    fi
    if [ "$found" = "$me" ]; then
      has_data && return
      replicas=$(to_sentinels SENTINEL MASTER "$SERVICE" | grep -A 1 '^num-slaves$' | tail -n 1)
      [ "${replicas:-0}" -gt 0 ] || return 0
      log 'the Sentinels call this pod the primary, but its volume is empty: waiting until they promote a replica'
    else
      log 'no Sentinel answers yet'
    fi
    tries=$((tries + 1))
    sleep 1
  done
  fail 'no Sentinel said which pod is the primary'
}

me=$(host_of "$(ordinal)")
primary=
[ "$MODE" != sentinel ] || find_primary
{
  echo "include $CONFIG_DIR/valkey.conf"
  echo "dir $DATA_DIR"
  echo "aclfile $RUN_DIR/users.acl"
  tls_lines
  if [ "$MODE" != standalone ]; then
    echo 'primaryuser replication'
    echo "primaryauth $(quoted "$(secret replication-password)")"
  fi
  case $MODE in
    sentinel)
      echo "replica-announce-ip $me"
      echo "replica-announce-port $PORT"
      [ -z "$primary" ] || echo "replicaof $primary $PORT"
      ;;
    cluster)
      echo "cluster-announce-hostname $me"
      # Written with the name, which outlives this pod's address.
      echo "cluster-announce-human-nodename $POD_NAME"
      ;;
  esac
} >"$RUN_DIR/valkey.conf"
log "starting as ${primary:+a replica of }${primary:-$MODE}"
exec valkey-server "$RUN_DIR/valkey.conf" "$@"
