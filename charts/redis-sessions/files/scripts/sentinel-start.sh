#!/bin/sh
# Start the Sentinel of this pod. Its configuration is made anew, but for what it has learnt.
set -eu
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"

umask 077
conf=$DATA_DIR/sentinel.conf
me=$(sentinel_host_of "$(ordinal)")
write_acl "$CONFIG_DIR/sentinel-users.acl" >"$RUN_DIR/users.acl"

learnt() { [ ! -f "$conf" ] || grep -E "^sentinel ($1) " "$conf" || true; }

# The name of the primary: what this Sentinel knew, else what the others know, else the first pod.
primary=$(learnt monitor | awk '{ print $4; exit }' | tr -d '"')
[ -n "$primary" ] || primary=$(primary_by_sentinels)
[ -n "$primary" ] || primary=$(host_of 0)
{
  echo "include $CONFIG_DIR/sentinel.conf"
  echo "dir $DATA_DIR"
  echo "aclfile $RUN_DIR/users.acl"
  tls_lines
  echo 'sentinel resolve-hostnames yes'
  echo 'sentinel announce-hostnames yes'
  echo "sentinel announce-ip $me"
  echo "sentinel announce-port $SENTINEL_PORT"
  echo 'sentinel sentinel-user failover'
  echo "sentinel sentinel-pass $(quoted "$(secret failover-password)")"
  learnt 'myid|current-epoch'
  echo "sentinel monitor $SERVICE $primary $PORT $QUORUM"
  echo "sentinel auth-user $SERVICE failover"
  echo "sentinel auth-pass $SERVICE $(quoted "$(secret failover-password)")"
  echo "sentinel down-after-milliseconds $SERVICE $DOWN_AFTER_MS"
  echo "sentinel failover-timeout $SERVICE $FAILOVER_TIMEOUT_MS"
  echo "sentinel parallel-syncs $SERVICE 1"
  learnt 'config-epoch|leader-epoch|known-replica|known-slave|known-sentinel'
} >"$conf.new"
mv "$conf.new" "$conf"
log "starting; the primary is taken to be $primary"
exec valkey-sentinel "$conf" "$@"
