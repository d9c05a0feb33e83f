#!/bin/sh
# In a cluster: tell this pod's address to the others. Nodes find each other by address, and when all pods have got
# new ones at once, nobody knows anybody. Does nothing to nodes that know each other.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
[ "$MODE" = cluster ] || exit 0
tries=0
until [ "$(here failover PING 2>/dev/null)" = PONG ]; do
  tries=$((tries + 1))
  [ "$tries" -lt "${PATIENCE:-600}" ] || exit 0
  sleep 1
done
# A node that has never been in a cluster is joined by the job.
here failover CLUSTER INFO | tr -d '\r' | grep -q '^cluster_known_nodes:1$' && exit 0
for i in $(ordinals "$NODES"); do
  address=$(getent ahosts "$(host_of "$i")" | awk '{ print $1; exit }')
  [ -z "$address" ] || here failover CLUSTER MEET "$address" "$PORT" >/dev/null
done
exit 0
