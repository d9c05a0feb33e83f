#!/bin/sh
# The server has loaded its data.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
answer=$(here probe PING)
[ "$answer" = PONG ] || fail "not started: ${answer:-no answer}"
