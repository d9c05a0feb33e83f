--[[
  move_message: take a message to another session of its flow, or to another time, under the id it has.

  KEYS
    1  log           stream  FlowKeys.log(session)
    2  edits         hash    FlowKeys.edits(session)
    3  new_log       stream  FlowKeys.log(new)
    4  new_edits     hash    FlowKeys.edits(new)
    5  ids           hash    FlowKeys.ids
    6  sessions      zset    FlowKeys.sessions
    7  aliases       hash    FlowKeys.aliases
    8  feed          stream  FlowKeys.feed
    9  adopted       set     FlowKeys.adopted(the entry's number)
   10  new_adopted   set     FlowKeys.adopted(new_number)
   11  builds        hash    FlowKeys.builds
   12  transactions  stream  FlowKeys.transactions
  ARGV
    1  session       bytes   session id, as resolved
    2  new           bytes   wanted session id
    3  token         bytes   names this call in the feed
    4  arrival      text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    5  entry         text    entry id
    6  expected      bytes   the body that the caller read
    7  body          bytes   the new body
    8  id            bytes   the message id, 16 bytes
    9  time          int     the message's timestamp in µs
   10  new_number    int     primary number of the wanted session, as read; else a candidate for it
   11  ttl_ms        int     time to live of the sessions; 0: leave it
   12  max_events    int     length of the feed
   13  feed_ttl_ms   int     time to live of the feed
   14  born          flag    1: new_number is a candidate, for there was no such session

  Returns  {status, …}
    MOVED_TO  the new entry id
    UNKNOWN   an earlier attempt may have been carried out; the feed was trimmed since
    LATE      Redis's time in µs: this attempt came after its time; nothing changed
    MOVED     a number names another session than was read, or none: resolve again
    MISSING   the entry is gone
    CHANGED   the content is not what the caller read: read again
    EXPIRED   the record of the wanted session: its log has expired; forget it, then try again

  Atomicity  one shard, one step. The first write is XADD, which Redis refuses when it is out of memory.
  Time       O(1).
]]
-- @include record chunks entries feed life drop
local log, edits, new_log, new_edits, ids, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local aliases, feed, adopted, new_adopted = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local session, new, token, entry_id, id = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[8]
local time, new_number, born = tonumber(ARGV[9]), ARGV[10], ARGV[14]

local outcome, now_us, event = arrive(feed, token, ARGV[4])
if outcome == 'DONE' then
  return { 'MOVED_TO', without_aliases(event.j) }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

local events = redis.call('XLEN', feed)
redis.call('HLEN', aliases)
redis.call('SCARD', adopted)
redis.call('SCARD', new_adopted)
redis.call('HLEN', new_edits)
local new_length = redis.call('XLEN', new_log)
if redis.call('HGET', ids, 'n' .. number_of(entry_id)) ~= session then
  return { 'MOVED' }
end
local entry = redis.call('XRANGE', log, entry_id, entry_id)[1]
if not entry then
  return { 'MISSING' }
end
local current = redis.call('HGET', edits, entry_id) or field_of(entry, 'b') or ''
if current ~= ARGV[6] then
  return { 'CHANGED' }
end
local score = tonumber(redis.call('ZSCORE', sessions, new) or -1)
local record = redis.call('HGET', ids, 's' .. new)
local numbers, lateness, generation = new_number, 0, 0
if record then
  numbers, lateness, generation = parse_record(record)
  if new_length == 0 then
    return { 'EXPIRED', record }
  end
end
-- A session that went since it was read does not come back with its number: ids would mean other messages.
local free = born ~= '' and redis.call('HEXISTS', ids, 'n' .. new_number) == 0
if primary(numbers) ~= new_number or not (record or free) then
  return { 'MOVED' }
end

local new_entry, us = add_entry(new_log, {}, new_number, ARGV[9], 'b', ARGV[7], 'i', id)
redis.call('HSET', aliases, id, new_entry)
redis.call('SREM', adopted, id)
redis.call('SADD', new_adopted, id)
redis.call('HSET', ids, 's' .. new, format_record(numbers, math.max(lateness, us - time), generation))
redis.call('HSET', ids, 'n' .. new_number, new)
if us > score then
  redis.call('ZADD', sessions, string.format('%.0f', us), new)
end
touch(ARGV[11], ids, new_log, new_edits, { new_adopted })

redis.call('XDEL', log, entry_id)
redis.call('HDEL', edits, entry_id)
local old_numbers, old_lateness, old_generation = parse_record(redis.call('HGET', ids, 's' .. session))
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if last then
  redis.call('HSET', ids, 's' .. session, format_record(old_numbers, old_lateness, old_generation + 1))
  redis.call('ZADD', sessions, string.match(last[1], '^%d+'), session)
  touch(ARGV[11], ids, log, edits, { adopted })
else
  local keys = { log = log, edits = edits, ids = ids, sessions = sessions, aliases = aliases }
  keys.builds, keys.transactions = KEYS[11], KEYS[12]
  drop_session(keys, session, old_numbers, { adopted })
end
publish(feed, events, ARGV[12], ARGV[13],
  't', token, 'e', 'move', 's', new, 'old', session, 'i', label(entry_id, id), 'j', label(new_entry, id))
return { 'MOVED_TO', new_entry }
