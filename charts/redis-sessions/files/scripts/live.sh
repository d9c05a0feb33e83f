#!/bin/sh
# The process answers. That it loads, replicates or refuses is no reason to kill it.
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
here probe PING >/dev/null
