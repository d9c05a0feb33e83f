--[[
  update: replace a message's content, if it is still what the caller read.

  KEYS
    1  log          stream  FlowKeys.log(session)
    2  edits        hash    FlowKeys.edits(session)
    3  ids          hash    FlowKeys.ids
    4  feed         stream  FlowKeys.feed
  ARGV
    1  session      bytes   session id, as resolved
    2  token        bytes   names this call in the feed
    3  arrival     text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    4  entry        text    entry id
    5  expected     bytes   the body that the caller read
    6  body         bytes   the new body
    7  ttl_ms       int     time to live of the session; 0: leave it
    8  max_events   int     length of the feed
    9  feed_ttl_ms  int     time to live of the feed

  Returns  {status}
    UPDATED
    UNKNOWN   an earlier attempt may have been carried out; the feed was trimmed since
    LATE      Redis's time in µs: this attempt came after its time; nothing changed
    MOVED     the entry's number names another session, or none: resolve again
    MISSING   the entry is gone
    CHANGED   the content is not what the caller read: read again

  Atomicity  one shard, one step. The first write is HSET, which Redis refuses when it is out of memory.
  Time       O(1).
]]
-- @include record entries feed life
local log, edits, ids, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session, token, entry_id = ARGV[1], ARGV[2], ARGV[4]

local outcome, now_us = arrive(feed, token, ARGV[3])
if outcome == 'DONE' then
  return { 'UPDATED' }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

local events = redis.call('XLEN', feed)
local known = redis.call('HMGET', ids, 'n' .. number_of(entry_id), 's' .. session)
if known[1] ~= session or not parse_record(known[2] or '') then
  return { 'MOVED' }
end
local entry = redis.call('XRANGE', log, entry_id, entry_id)[1]
if not entry then
  return { 'MISSING' }
end
local current = redis.call('HGET', edits, entry_id) or field_of(entry, 'b') or ''
if current ~= ARGV[5] then
  return { 'CHANGED' }
end

redis.call('HSET', edits, entry_id, ARGV[6])
touch(ARGV[7], ids, log, edits, {})
publish(feed, events, ARGV[8], ARGV[9],
  't', token, 'e', 'update', 's', session, 'i', label(entry_id, field_of(entry, 'i')))
return { 'UPDATED' }
