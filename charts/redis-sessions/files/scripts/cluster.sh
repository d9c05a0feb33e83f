#!/bin/sh
# Make the cluster what the values say: $PRIMARIES primaries with $REPLICAS replicas each, on the first
# $PRIMARIES * (1 + $REPLICAS) pods. It looks at what is there, does what is missing, and can run again at any time:
# after an install, when pods were added or have lost their volumes, and, as "cluster.sh shrink", before pods go.
#
# Slots move with CLUSTER MIGRATESLOTS: a slot is at the old node, then at the new one, and never at half of each.
set -eu
. "${CONFIG_DIR:-/etc/valkey}/lib.sh"

wanted=$((PRIMARIES * (1 + REPLICAS)))
patience=${PATIENCE:-600}
work=$RUN_DIR/cluster
mkdir -p "$work"

until_true() { # SECONDS WHAT COMMAND...
  left=$1 what=$2
  shift 2
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || fail "waited in vain until $what"
    sleep 1
  done
}

ask() { # ORDINAL COMMAND...
  host=$(host_of "$1")
  shift
  cli admin "$host" "$PORT" "$@" | tr -d '\r'
}

tell() { # HOST PORT COMMAND...: fails unless the answer is OK
  answer=$(cli admin "$@" | tr -d '\r')
  [ "$answer" = OK ] || fail "$1: $3 ${4:-}: $answer"
}

# Lines of: id host port role(primary|replica) state(ok|fail) primary's-id number-of-slots slot-ranges...
# The first pods are named by their host names, others by their addresses.
look() {
  : >"$work/ids"
  for i in $(ordinals "$wanted"); do
    echo "$(ask "$i" CLUSTER MYID) $(host_of "$i") $PORT $i" >>"$work/ids"
  done
  ask 0 CLUSTER NODES | awk '
    FNR == NR { host[$1] = $2; port[$1] = $3; next }
    {
      split($2, place, ","); sub(/@.*/, "", place[1])
      address = place[1]; at = address; sub(/:[0-9]*$/, "", address); sub(/.*:/, "", at)
      if ($1 in host) { address = host[$1]; at = port[$1] }
      role = $3 ~ /master/ ? "primary" : "replica"
      # "fail?" is the opinion of one node.
      state = $3 ~ /(fail(,|$)|noaddr)/ ? "fail" : "ok"
      count = 0; ranges = ""
      for (f = 9; f <= NF; f++) {
        if ($f ~ /^\[/) continue
        split($f, ends, "-"); last = ends[2] == "" ? ends[1] : ends[2]
        count += last - ends[1] + 1
        ranges = ranges " " ends[1] "-" last
      }
      print $1, (address == "" ? "?" : address), at, role, state, $4, count ranges
    }' "$work/ids" - >"$work/nodes"
}

answers() { [ "$(ask "$1" PING 2>/dev/null)" = PONG ]; }

meet() {
  for i in $(ordinals "$wanted"); do
    [ "$i" -gt 0 ] || continue
    id=$(ask "$i" CLUSTER MYID)
    ask 0 CLUSTER NODES | grep -q "^$id [^ ]* [^ ]*[^r] .* connected" && continue
    address=$(getent ahosts "$(host_of "$i")" | awk '{ print $1; exit }')
    [ -n "$address" ] || fail "$(host_of "$i") has no address"
    tell "$(host_of 0)" "$PORT" CLUSTER MEET "$address" "$PORT"
  done
  until_true 60 'all nodes know each other' all_know_all
}

all_know_all() {
  look
  sort "$work/ids" | cut -d ' ' -f 1 >"$work/expected"
  for i in $(ordinals "$wanted"); do
    ask "$i" CLUSTER NODES | grep -v handshake | cut -d ' ' -f 1 | sort >"$work/known"
    [ -z "$(comm -23 "$work/expected" "$work/known")" ] || return 1
  done
}

# What is gone for good is forgotten: nodes that are no longer there, and that have no slots.
forget_the_dead() {
  look
  awk '$5 == "fail" && $7 == 0 { print $1 }' "$work/nodes" | while read -r id; do
    grep -q "^$id " "$work/ids" && continue
    log "forgetting node $id, which is gone"
    forget "$id"
  done
  lost=$(awk '$5 == "fail" && $7 > 0 { print $2 }' "$work/nodes")
  [ -z "$lost" ] || fail "these have slots and do not answer, and no replica took over: $lost"
}

forget() {
  for i in $(ordinals "$wanted"); do
    ask "$i" CLUSTER FORGET "$1" >/dev/null </dev/null
  done
}

# The ids of the nodes that are to be the primaries: those with most slots, new ones by their ordinals.
choose_primaries() {
  look
  awk 'FNR == NR { ordinal[$1] = $4; next } $4 == "primary" && $1 in ordinal { print $1, $7, ordinal[$1] }' \
    "$work/ids" "$work/nodes" | sort -k 2,2nr -k 3,3n | head -n "$PRIMARIES" | cut -d ' ' -f 1 >"$work/primaries"
}

# When there are too few primaries, replicas that are one too many become empty primaries.
promote_the_missing() {
  choose_primaries
  while [ "$(wc -l <"$work/primaries")" -lt "$PRIMARIES" ]; do
    victim=$(awk 'FNR == NR { mine[$1] = $2; next } $4 == "replica" && $1 in mine { n[$6]++; one[$6] = $1 }
      END { for (p in n) if (n[p] > most) { most = n[p]; pick = one[p] } print pick, mine[pick] }' \
      "$work/ids" "$work/nodes")
    [ "$victim" != ' ' ] || fail 'there are too few nodes'
    log "${victim#* } becomes a primary"
    tell "${victim#* }" "$PORT" CLUSTER RESET SOFT
    forget "${victim%% *}"
    # Its name is banned for a minute from nodes that were told to forget it; a new one is not.
    tell "${victim#* }" "$PORT" CLUSTER RESET HARD
    meet
    choose_primaries
  done
}

# Slots that nobody has go to the chosen primaries, so that all have the same number.
assign_free_slots() {
  look
  awk '
    FNR == NR { chosen[++n] = $1; next }
    {
      count[$1] = $7; host[$1] = $2; port[$1] = $3
      for (f = 8; f <= NF; f++) { split($f, e, "-"); for (s = e[1]; s <= e[2]; s++) taken[s] = 1 }
    }
    END {
      slot = 0
      for (i = 1; i <= n; i++) {
        id = chosen[i]; share = int(16384 * i / n) - int(16384 * (i - 1) / n); line = ""
        while (count[id] < share || i == n) {
          while (slot < 16384 && slot in taken) slot++
          if (slot == 16384) break
          first = slot
          while (slot < 16384 && !(slot in taken) && (count[id] < share || i == n)) { count[id]++; slot++ }
          line = line " " first " " (slot - 1)
        }
        if (line != "") print host[id], port[id] line
      }
    }' "$work/primaries" "$work/nodes" >"$work/free"
  while read -r host port ranges; do
    log "$host gets the slots $ranges, which nobody had"
    # shellcheck disable=SC2086
    tell "$host" "$port" CLUSTER ADDSLOTSRANGE $ranges </dev/null
  done <"$work/free"
}

# Slots move until every chosen primary has its share, and no other node has any.
move_slots() {
  failures=0
  until_true 60 'all nodes agree who has which slots' agree
  while :; do
    look
    awk '
      FNR == NR { place[$1] = ++n; name[n] = $1; next }
      { count[$1] = $7; host[$1] = $2; port[$1] = $3; for (f = 8; f <= NF; f++) ranges[$1] = ranges[$1] " " $f }
      END {
        for (i = 1; i <= n; i++) share[name[i]] = int(16384 * i / n) - int(16384 * (i - 1) / n)
        for (id in count) {
          surplus = count[id] - ((id in place) ? share[id] : 0)
          if (surplus > most) { most = surplus; from = id }
          if (id in place && -surplus > need) { need = -surplus; to = id }
        }
        if (from == "" || to == "" || (most < 2 && from in place)) exit
        left = most < need ? most : need
        parts = split(ranges[from], range, " ")
        for (r = parts; r > 0 && left > 0; r--) {
          split(range[r], e, "-")
          first = e[2] - left + 1 > e[1] ? e[2] - left + 1 : e[1]
          left -= e[2] - first + 1
          line = line " " first " " e[2]
        }
        print host[from], port[from], host[to], to line
      }' "$work/primaries" "$work/nodes" >"$work/move"
    [ -s "$work/move" ] || return 0
    read -r host port target id ranges <"$work/move"
    log "moving slots from $host to $target: $ranges"
    # shellcheck disable=SC2086
    tell "$host" "$port" CLUSTER MIGRATESLOTS SLOTSRANGE $ranges NODE "$id"
    until_true "${MOVE_PATIENCE:-3600}" 'the slots have moved' has_moved "$host" "$port"
    until_true 60 'all nodes agree who has which slots' agree
  done
}

# The newest migration of a node has ended, one way or the other: what is left to move shows at the next look.
has_moved() { # HOST PORT
  cli admin "$1" "$2" CLUSTER GETSLOTMIGRATIONS | tr -d '\r' >"$work/migrations"
  case $(grep -m 1 -A 1 '^state$' "$work/migrations" | tail -n 1) in
    success) return 0 ;;
    failed | canceled)
      log "they did not: $(grep -m 1 -A 1 '^message$' "$work/migrations" | tail -n 1)"
      failures=$((failures + 1))
      [ "$failures" -lt 5 ] || fail "moving slots failed $failures times"
      ;;
    *) return 1 ;;
  esac
}

# Gossip takes a moment: all pods tell the same of who has which slots.
agree() {
  for i in $(ordinals "$wanted"); do
    ask "$i" CLUSTER NODES | awk '$3 ~ /master/ && NF > 8 { $2 = $3 = $4 = $5 = $6 = $7 = $8 = ""; print }' |
      sort | cksum
  done | sort -u | wc -l | grep -q '^ *1$'
}

# Every other pod becomes a replica of a primary that has too few; those that have a primary keep it.
assign_replicas() {
  look
  awk -v most="$REPLICAS" '
    FILENAME == ARGV[1] { chosen[$1] = 1; order[++n] = $1; next }
    FILENAME == ARGV[2] { mine[$1] = 1; next }
    { host[$1] = $2; port[$1] = $3 }
    $1 in mine && !($1 in chosen) {
      if ($4 == "replica" && $6 in chosen && have[$6] < most) have[$6]++
      else free[++m] = $1
    }
    END {
      for (k = 1; k <= m; k++) {
        to = ""
        for (i = 1; i <= n; i++) if (to == "" || have[order[i]] < have[to]) to = order[i]
        have[to]++
        print host[free[k]], port[free[k]], to
      }
    }' "$work/primaries" "$work/ids" "$work/nodes" >"$work/replicas"
  while read -r host port id; do
    log "$host becomes a replica of $id"
    tell "$host" "$port" CLUSTER REPLICATE "$id" </dev/null
  done <"$work/replicas"
}

# Nodes beyond the wanted ones have no slots any more: they leave.
dismiss_the_rest() {
  look
  awk 'FNR == NR { mine[$1] = 1; next } !($1 in mine) && $5 == "ok" { print }' "$work/ids" "$work/nodes" >"$work/rest"
  while read -r id host port role state primary slots; do
    [ "$slots" = 0 ] || fail "$host still has slots"
    log "$host leaves the cluster"
    tell "$host" "$port" CLUSTER RESET HARD </dev/null
    forget "$id"
  done <"$work/rest"
}

whole() {
  for i in $(ordinals "$wanted"); do
    ask "$i" CLUSTER INFO | grep -q '^cluster_state:ok$' || return 1
    state=$(ask "$i" INFO replication)
    case $state in
      *role:slave*) case $state in *master_link_status:up*) ;; *) return 1 ;; esac ;;
    esac
  done
}

if [ "${1:-}" = shrink ]; then
  # Before an upgrade: pods that are not there yet are the business of the run after it.
  known=$(ask 0 CLUSTER NODES 2>/dev/null | grep -cv -e fail -e noaddr || true)
  if [ "${known:-0}" -le "$wanted" ]; then
    log "no node has to leave: there are ${known:-0}, and $wanted are wanted"
    exit 0
  fi
fi
for i in $(ordinals "$wanted"); do
  until_true "$patience" "$(host_of "$i") answers" answers "$i"
done
meet
forget_the_dead
promote_the_missing
assign_free_slots
move_slots
assign_replicas
dismiss_the_rest
until_true "$patience" 'the cluster is whole' whole
log "the cluster has $PRIMARIES primaries with $REPLICAS replicas each"
