#!/bin/sh
# The server can serve: it has loaded its data, a replica has caught up with its primary, and a cluster is whole.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
answer=$(here probe PING)
[ "$answer" = PONG ] || fail "not ready: ${answer:-no answer}"
state=$(here probe INFO replication | tr -d '\r')
case $state in
  *role:slave*)
    echo "$state" | grep -q '^master_link_status:up$' || fail 'not ready: not in step with the primary'
    ;;
  *role:master*) ;;
  *) fail 'not ready: no role' ;;
esac
if [ "$MODE" = cluster ]; then
  here probe CLUSTER INFO | tr -d '\r' | grep -q '^cluster_state:ok$' || fail 'not ready: the cluster is not whole'
fi
