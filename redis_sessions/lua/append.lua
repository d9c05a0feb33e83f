--[[
  append: store messages at the end of one session; all of them or none.

  KEYS
    1  log           stream  FlowKeys.log(session)
    2  edits         hash    FlowKeys.edits(session)
    3  ids           hash    FlowKeys.ids
    4  sessions      zset    FlowKeys.sessions
    5  aliases       hash    FlowKeys.aliases
    6  feed          stream  FlowKeys.feed
    7… adopted       set     FlowKeys.adopted(number), for each of ARGV numbers
  ARGV
    1  session       bytes   session id
    2  token         bytes   names this call in the feed
    3  arrival      text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    4  registered    flag    1: the flow (and its owner) are in the registry
    5  owner         bytes   who the flow must belong to; empty: anyone
    6  ttl_ms        int     time to live of the session; 0: leave it
    7  max_messages  int     entries the session keeps; 0: all
    8  max_ahead_us  int     how far ahead of TIME a message may be
    9  max_events    int     length of the feed
   10  feed_ttl_ms   int     time to live of the feed
   11  numbers       text    session numbers of KEYS 7…, comma separated
   12  candidates    text    numbers for a new session, comma separated
   13… messages      3 each  timestamp in µs; adopted id or empty; body

  Returns  {status, …}
    APPENDED      an entry id for each message, in the order given, comma separated
    UNKNOWN       an earlier attempt may have been carried out; the feed was trimmed since
    LATE          Redis's time in µs: this attempt came after its time; nothing changed
    OWNER         the flow belongs to somebody else
    UNREGISTERED  the flow is new, or has no owner yet: register it, then try again
    EXPIRED       the session's record: its log has expired; forget it, then try again
    AHEAD         a message is too far ahead of Redis's time
    EXISTS        the adopted id that is there already; the session that its message is in
    NUMBERS       the session's numbers: an adopted set is needed that is not among KEYS
    TAKEN         every candidate names a session already

  Atomicity  one shard, one step. The first write is ZADD, which Redis refuses when it is out of memory.
  Time       O(messages), and O(entries trimmed): as many as there are messages and 100 more, or some 2 MB of them.
             What is over the length then goes with later writes.
]]
-- @include record chunks entries feed life trim
local log, edits, ids, sessions, aliases, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local session, token, owner, max_messages = ARGV[1], ARGV[2], ARGV[5], tonumber(ARGV[7])

local outcome, now_us, event = arrive(feed, token, ARGV[3])
if outcome == 'DONE' then
  return { 'APPENDED', without_aliases(event.i) }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

-- Reads that fail on a wrong type come before the first write.
local known = redis.call('HMGET', ids, 'owner', 's' .. session, 'ttl')
local present, record, mortal = known[1], known[2], known[3]
local length, events = redis.call('XLEN', log), redis.call('XLEN', feed)

if owner ~= '' and present and present ~= owner then
  return { 'OWNER' }
end

-- Above 2^53 the µs of an entry would not be exact.
local latest_allowed, alias_list = math.min(now_us + ARGV[8], 9007199254740000), {}
for i = 13, #ARGV, 3 do
  if tonumber(ARGV[i]) > latest_allowed then
    return { 'AHEAD' }
  end
  if ARGV[i + 1] ~= '' then
    alias_list[#alias_list + 1] = ARGV[i + 1]
  end
end
local adopting = #alias_list > 0
for first = 1, #alias_list, 1000 do
  local some = { unpack(alias_list, first, math.min(first + 999, #alias_list)) }
  for i, address in ipairs(redis.call('HMGET', aliases, unpack(some))) do
    local holder = address and redis.call('HGET', ids, 'n' .. number_of(address))
    if holder then
      return { 'EXISTS', some[i], holder }
    end
  end
end

-- After every refusal: what is refused leaves no registration behind.
if ARGV[4] == '' and ((owner ~= '' and not present) or (not record and redis.call('EXISTS', ids) == 0)) then
  return { 'UNREGISTERED' }
end
if record and length == 0 then
  return { 'EXPIRED', record }
end

local number = record and primary(record)
if not record then
  for candidate in string.gmatch(ARGV[12], '%d+') do
    if not number and redis.call('HEXISTS', ids, 'n' .. candidate) == 0 then
      number = candidate
    end
  end
  if not number then
    return { 'TAKEN' }
  end
end

local adopted_of, adopted = {}, {}
for named in string.gmatch(ARGV[11], '%d+') do
  adopted[#adopted + 1] = KEYS[7 + #adopted]
  adopted_of[named] = adopted[#adopted]
  redis.call('SCARD', adopted_of[named])
end
if adopting and not adopted_of[number] then
  return { 'NUMBERS', record and parse_record(record) or number }
end

-- What trimming will remove, as {entry id, adopted id}: the oldest entries that are there now.
local count = (#ARGV - 12) / 3
local excess = max_messages > 0 and math.max(0, length + count - max_messages) or 0
local trimmed = {}
if excess > 0 then
  redis.call('HLEN', edits)
  redis.call('HLEN', aliases)
  local numbers = record and parse_record(record) or ''
  trimmed = find_oldest(log, math.min(excess, count + 100, length), numbers, adopted_of)
  if not trimmed then
    return { 'NUMBERS', numbers }
  end
  -- Of long messages, the rest goes with later ones.
  excess = #trimmed == length and math.min(excess, count + 100) or #trimmed
end

-- Fails on a wrong type, and when Redis is out of memory, before anything is written.
redis.call('ZADD', sessions, 'GT', ARGV[#ARGV - 2], session)
local clock, added, pairs_of_aliases, lateness, last_us = {}, {}, {}, 0, 0
for i = 13, #ARGV, 3 do
  local time, alias = tonumber(ARGV[i]), ARGV[i + 1]
  local id, us
  if alias == '' then
    id, us = add_entry(log, clock, number, ARGV[i], 'b', ARGV[i + 2])
  else
    id, us = add_entry(log, clock, number, ARGV[i], 'b', ARGV[i + 2], 'i', alias)
    pairs_of_aliases[#pairs_of_aliases + 1] = alias
    pairs_of_aliases[#pairs_of_aliases + 1] = id
  end
  added[#added + 1] = id
  lateness = math.max(lateness, us - time)
  last_us = us
end
if adopting then
  in_chunks('HSET', aliases, pairs_of_aliases)
  in_chunks('SADD', adopted_of[number], alias_list)
end
if last_us > tonumber(ARGV[#ARGV - 2]) then
  redis.call('ZADD', sessions, 'GT', string.format('%.0f', last_us), session)
end

local gone, labels = {}, {}
if excess > 0 then
  while #trimmed < excess do
    local place = #trimmed - length + 1
    local alias = ARGV[11 + 3 * place]
    trimmed[#trimmed + 1] = { added[place], alias ~= '' and alias or nil }
  end
  for _, victim in ipairs(trimmed) do
    gone[#gone + 1] = victim[1]
    labels[#labels + 1] = label(victim[1], victim[2])
    if victim[2] then
      redis.call('HDEL', aliases, victim[2])
      redis.call('SREM', adopted_of[number_of(victim[1])], victim[2])
    end
  end
  redis.call('XTRIM', log, 'MAXLEN', '=', string.format('%.0f', length + count - excess))
  in_chunks('HDEL', edits, gone)
end

if not record then
  redis.call('HSET', ids, 's' .. session, format_record(number, lateness, #gone > 0 and 1 or 0), 'n' .. number, session)
elseif lateness > 0 or #gone > 0 then
  local numbers, latest, generation = parse_record(record)
  generation = generation + (#gone > 0 and 1 or 0)
  redis.call('HSET', ids, 's' .. session, format_record(numbers, math.max(latest, lateness), generation))
end
if owner ~= '' and not present then
  redis.call('HSET', ids, 'owner', owner)
end
if mortal or tonumber(ARGV[6]) > 0 then
  touch(ARGV[6], ids, log, edits, adopted)
end
local answer = table.concat(added, ',')
if adopting then
  for i, id in ipairs(added) do
    local alias = ARGV[11 + 3 * i]
    added[i] = label(id, alias ~= '' and alias or nil)
  end
end
local created = adopting and table.concat(added, ',') or answer
if #gone > 0 then
  publish(feed, events, ARGV[9], ARGV[10], 't', token, 'e', 'append', 's', session, 'i', created, 'x', table.concat(labels, ','))
else
  publish(feed, events, ARGV[9], ARGV[10], 't', token, 'e', 'append', 's', session, 'i', created)
end
return { 'APPENDED', answer }
