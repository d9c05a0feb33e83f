#!/bin/sh
# Before this pod goes: if it is a primary, hand over to a replica first, so that nobody waits until it is missed.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
# The rest of the pod's grace is for the server: it waits for its replicas and writes its file.
deadline=$(($(date +%s) + ${PATIENCE:-30}))
in_time() { [ "$(date +%s)" -lt "$deadline" ]; }

is_primary() { here failover ROLE | head -n 1 | grep -q '^master$'; }
# A replica of the new primary, and connected to it: before that, the new one may not be one yet.
has_handed_over() { here failover ROLE | grep -q '^connected$'; }

hand_over() {
  case $MODE in
    sentinel)
      to_sentinels SENTINEL FAILOVER "$SERVICE" COORDINATED | grep -q OK ||
        to_sentinels SENTINEL FAILOVER "$SERVICE" | grep -q OK
      ;;
    cluster)
      id=$(here failover CLUSTER MYID)
      here failover CLUSTER NODES | tr -d '\r' |
        awk -v id="$id" '$4 == id && $3 !~ /fail/ && $8 == "connected" { split($2, a, "@"); print a[1] }' |
        while read -r address; do
          CLI_TIMEOUT=5 cli failover "${address%:*}" "${address##*:}" CLUSTER FAILOVER | grep -q OK && echo done && break
        done | grep -q done
      ;;
  esac
}

[ "$MODE" != standalone ] || exit 0
is_primary || exit 0
log 'handing over to a replica'
has_replicas() { here failover ROLE | sed -n 3p | grep -q .; }
until hand_over; do
  has_replicas || { log 'there is no replica that could take over'; exit 0; }
  in_time || { log 'no replica could take over in time'; exit 0; }
  sleep 1
done
until has_handed_over; do
  in_time || { log 'no replica took over in time'; exit 0; }
  sleep 1
done
log 'handed over'
