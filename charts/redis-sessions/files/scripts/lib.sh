# What the scripts share. The environment of the pod says who and where we are:
#   MODE standalone|sentinel|cluster, POD_NAME, PORT, TLS yes|no
#   PEERS, NODES          a printf format of a data pod's host name, and how many there are
#   SENTINEL_PEERS, SENTINELS, SENTINEL_PORT, SERVICE
# Passwords are read from files, and never stand on a command line.

CONFIG_DIR=${CONFIG_DIR:-/etc/valkey}
SECRETS_DIR=${SECRETS_DIR:-/etc/valkey-auth}
TLS_DIR=${TLS_DIR:-/etc/valkey-tls}
RUN_DIR=${RUN_DIR:-/run/valkey}
DATA_DIR=${DATA_DIR:-/data}

log() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >&2; }
fail() { log "error: $*"; exit 1; }

host_of() { printf "$PEERS" "$1"; }
sentinel_host_of() { printf "$SENTINEL_PEERS" "$1"; }
ordinal() { echo "${POD_NAME##*-}"; }
ordinals() { i=0; while [ "$i" -lt "$1" ]; do echo "$i"; i=$((i + 1)); done; }

secret() {
  [ -s "$SECRETS_DIR/$1" ] || fail "the Secret has no key $1"
  head -n 1 "$SECRETS_DIR/$1" | tr -d '\r\n'
}

# cli USER HOST PORT COMMAND...: an error reply goes to stdout, as valkey-cli prints it.
cli() (
  user=$1 host=$2 port=$3
  shift 3
  REDISCLI_AUTH=$(secret "$user-password") || exit 1
  VALKEYCLI_AUTH=$REDISCLI_AUTH
  export REDISCLI_AUTH VALKEYCLI_AUTH
  [ "$TLS" = yes ] && set -- --tls --cacert "$TLS_DIR/ca.crt" "$@"
  exec timeout "${CLI_TIMEOUT:-5}" valkey-cli --no-auth-warning --user "$user" -h "$host" -p "$port" "$@"
)

# here USER COMMAND...: to the server of this pod.
here() {
  user=$1
  shift
  cli "$user" "${SELF:-localhost}" "$PORT" "$@"
}

# A word of a configuration file, quoted.
quoted() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }

# The ACL file: the users and rules of $1, each with the hash of its password, and of the one before it, which is
# accepted for as long as the Secret has it under <key>-previous.
write_acl() {
  echo 'user default off'
  while read -r name rules; do
    [ -n "$name" ] || continue
    key=$name-password
    [ "$name" = "$STORE_USER" ] && key=password
    [ -s "$SECRETS_DIR/$key" ] || fail "the Secret has no key $key"
    hashes=
    for file in "$SECRETS_DIR/$key" "$SECRETS_DIR/$key-previous"; do
      [ -s "$file" ] && hashes="$hashes #$(head -n 1 "$file" | tr -d '\r\n' | sha256sum | cut -c 1-64)"
    done
    echo "user $name on$hashes $rules"
  done <"$1"
}

tls_lines() {
  [ "$TLS" = yes ] || return 0
  echo "tls-cert-file $TLS_DIR/tls.crt"
  echo "tls-key-file $TLS_DIR/tls.key"
  echo "tls-ca-cert-file $TLS_DIR/ca.crt"
}

# The host of the primary, as the first Sentinel that answers says; nothing when none does.
primary_by_sentinels() {
  for i in $(ordinals "$SENTINELS"); do
    found=$(CLI_TIMEOUT=2 cli failover "$(sentinel_host_of "$i")" "$SENTINEL_PORT" \
      SENTINEL GET-MASTER-ADDR-BY-NAME "$SERVICE" 2>/dev/null | head -n 1)
    case $found in '' | *' '*) ;; *) echo "$found"; return ;; esac
  done
}

# to_sentinels COMMAND...: the answer of the first Sentinel that has one.
to_sentinels() {
  for i in $(ordinals "$SENTINELS"); do
    CLI_TIMEOUT=2 cli failover "$(sentinel_host_of "$i")" "$SENTINEL_PORT" "$@" 2>/dev/null && return
  done
  return 1
}
