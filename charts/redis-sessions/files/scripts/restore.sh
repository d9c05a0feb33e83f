#!/bin/sh
# Make the backup $RESTORE (a time, as 20261122T031500Z) the data of this pod, if it has none. The file becomes the
# base of the append-only file, which is what Valkey itself makes of an RDB file.
set -eu
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"
BACKUP_DIR=${BACKUP_DIR:-/backup}
number=$(ordinal)
aof=$DATA_DIR/appendonlydir

if [ -n "$(ls -A "$aof" 2>/dev/null)" ]; then
  log "this pod has data: backup $RESTORE is not restored"
  exit 0
fi
[ -s "$BACKUP_DIR/$RESTORE-0.rdb" ] || fail "there is no backup $RESTORE in $BACKUP_DIR"
file=$BACKUP_DIR/$RESTORE-$number.rdb
# Replicas get theirs from their primary.
[ -s "$file" ] || exit 0
mkdir -p "$aof.part"
cp "$file" "$aof.part/appendonly.aof.1.base.rdb"
echo 'file appendonly.aof.1.base.rdb seq 1 type b' >"$aof.part/appendonly.aof.manifest"
rm -rf "$aof"
mv "$aof.part" "$aof"
log "restored $file"
