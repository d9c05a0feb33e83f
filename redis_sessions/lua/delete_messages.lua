--[[
  delete_messages: remove messages of one session; the session goes with its last one.

  KEYS
    1  log           stream  FlowKeys.log(session)
    2  edits         hash    FlowKeys.edits(session)
    3  ids           hash    FlowKeys.ids
    4  sessions      zset    FlowKeys.sessions
    5  aliases       hash    FlowKeys.aliases
    6  feed          stream  FlowKeys.feed
    7  builds        hash    FlowKeys.builds
    8  transactions  stream  FlowKeys.transactions
    9… adopted       set     FlowKeys.adopted(number), for each of ARGV numbers
  ARGV
    1  session       bytes   session id, as resolved
    2  token         bytes   names this call in the feed
    3  arrival      text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    4  ttl_ms        int     time to live of the session; 0: leave it
    5  max_events    int     length of the feed
    6  feed_ttl_ms   int     time to live of the feed
    7  numbers       text    session numbers of KEYS 9…: those of the entries; comma separated
    8… entries       2 each  entry id; the adopted id it has, as read, or empty; at most 500

  Returns  {status, …}
    DELETED   "1" if the flow is empty now; its owner, if so; the ids of the entries that were there, comma separated
    UNKNOWN   an earlier attempt may have been carried out; the feed was trimmed since
    LATE      Redis's time in µs: this attempt came after its time; nothing changed
    MOVED     an entry's number names another session, or none: resolve again

  Atomicity  one shard, one step. Nothing is written that Redis refuses when it is out of memory.
  Time       O(entries).
]]
-- @include record chunks entries feed life drop
local log, edits, ids, sessions, aliases, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local session, token = ARGV[1], ARGV[2]

local outcome, now_us, event = arrive(feed, token, ARGV[3])
if outcome == 'DONE' then
  return { 'DELETED', event.f, event.w, without_aliases(event.i) }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

local events = redis.call('XLEN', feed)
-- What it is about to write is of the right type, or this fails here.
local length = redis.call('XLEN', log)
redis.call('HLEN', edits)
local newest_us = tonumber(redis.call('ZSCORE', sessions, session) or 0)
local fields, adopted, adopted_of, aliased = { 's' .. session }, {}, {}, false
for number in string.gmatch(ARGV[7], '%d+') do
  fields[#fields + 1] = 'n' .. number
  adopted[#adopted + 1] = KEYS[9 + #adopted]
  adopted_of[number] = adopted[#adopted]
end
local known = redis.call('HMGET', ids, unpack(fields))
for i = 2, #fields do
  if known[i] ~= session then
    return { 'MOVED' }
  end
end
local numbers, lateness, generation = parse_record(known[1] or '')
if not numbers then
  return { 'MOVED' }
end
for i = 9, #ARGV, 2 do
  aliased = aliased or ARGV[i] ~= ''
end
if aliased or 2 * length <= #ARGV - 7 then
  redis.call('HLEN', aliases)
  for _, key in ipairs(adopted) do
    redis.call('SCARD', key)
  end
end

-- XDEL tells what was there: to read an entry would be to copy its body.
local gone, labels, dropped = {}, {}, {}
for i = 8, #ARGV, 2 do
  if redis.call('XDEL', log, ARGV[i]) == 1 then
    local alias = ARGV[i + 1] ~= '' and ARGV[i + 1] or nil
    gone[#gone + 1] = ARGV[i]
    labels[#labels + 1] = label(ARGV[i], alias)
    if alias then
      local set = adopted_of[number_of(ARGV[i])]
      dropped[set] = dropped[set] or {}
      table.insert(dropped[set], alias)
    end
  end
end
if #gone == 0 then
  return { 'DELETED', '', '', '' }
end

in_chunks('HDEL', edits, gone)
for set, some in pairs(dropped) do
  in_chunks('HDEL', aliases, some)
  in_chunks('SREM', set, some)
end
local empty, owner = '', ''
if #gone < length then
  redis.call('HSET', ids, 's' .. session, format_record(numbers, lateness, generation + 1))
  local newest_gone = false
  for _, id in ipairs(gone) do
    newest_gone = newest_gone or tonumber(string.match(id, '^%d+')) >= newest_us
  end
  if newest_gone then
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    redis.call('ZADD', sessions, string.match(last[1], '^%d+'), session)
  end
  touch(ARGV[4], ids, log, edits, adopted)
else
  local keys = { log = log, edits = edits, ids = ids, sessions = sessions, aliases = aliases }
  keys.builds, keys.transactions = KEYS[7], KEYS[8]
  empty, owner = drop_session(keys, session, numbers, adopted)
end
publish(feed, events, ARGV[5], ARGV[6],
  't', token, 'e', 'delete', 's', session, 'i', table.concat(labels, ','), 'f', empty, 'w', owner)
return { 'DELETED', empty, owner, table.concat(gone, ',') }
