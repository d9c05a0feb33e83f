#!/bin/sh
# The Sentinel answers.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
cli probe "${SELF:-localhost}" "$SENTINEL_PORT" PING | grep -q '^PONG$'
