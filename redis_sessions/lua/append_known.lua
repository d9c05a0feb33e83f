--[[
  append_known: store messages at the ends of sessions that are there, each message by itself.

  What nearly all appends are, and without what else `append` has to care for: no adopted ids, no time to live,
  nothing to trim, no earlier attempt. A message that needs any of it is left to `append`.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  sessions      zset    FlowKeys.sessions
    3  feed          stream  FlowKeys.feed
    4… logs          stream  FlowKeys.log(session), for each message
  ARGV
    1  arrival       text    until when it may be carried out (shared/feed.lua)
    2  owner         bytes   who the flow must belong to; empty: anyone
    3  max_ahead_us  int     how far ahead of TIME a message may be
    4  max_events    int     length of the feed
    5  feed_ttl_ms   int     time to live of the feed; 0: it was set lately
    6… messages      4 each  session id; token of its call; timestamp in µs; body

  Returns  {status, …}
    APPENDED  an entry id for each message, comma separated; empty: left to append, nothing was stored
    LATE      Redis's time in µs: this attempt came after its time; nothing changed

  Atomicity  one shard, one step. The first write is ZADD, which Redis refuses when it is out of memory; what it
             did for a message that is then left, append does again.
  Time       O(messages).
]]
-- No includes: Lua makes all functions of a script anew in each call.
local ids, sessions, feed, owner = KEYS[1], KEYS[2], KEYS[3], ARGV[2]
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
if now_us > tonumber(ARGV[1]) then
  return { 'LATE', string.format('%.0f', now_us) }
end
-- Above 2^53 the µs of an entry would not be exact.
local latest_us = math.min(now_us + ARGV[3], 9007199254740000)

local fields = { 'owner', 'ttl' }
for i = 6, #ARGV, 4 do
  fields[#fields + 1] = 's' .. ARGV[i]
end
-- Reads that fail on a wrong type come before the first write.
local known = redis.call('HMGET', ids, unpack(fields))
local plain = (owner == '' or owner == known[1]) and not known[2] and redis.call('XLEN', feed) > 0

local numbers, scores = {}, {}
for k = 4, #KEYS do
  -- A record of a later format has more parts.
  local record, i = known[k - 1], 4 * k - 10
  local number = plain and record and string.match(record, '^(%d+)[%d,]*|%d+|%d+$')
  if number and tonumber(ARGV[i + 2]) <= latest_us then
    numbers[k] = number
    scores[#scores + 1] = ARGV[i + 2]
    scores[#scores + 1] = ARGV[i]
  end
end
if #scores > 0 then
  redis.call('ZADD', sessions, 'GT', unpack(scores))
end

local added, stored = {}, false
for k = 4, #KEYS do
  local id, i = '', 4 * k - 10
  if numbers[k] then
    id = ARGV[i + 2] .. '-' .. numbers[k]
    -- Refused when there is no log, it is no stream, or its clock is not before the message's time.
    if type(redis.pcall('XADD', KEYS[k], 'NOMKSTREAM', id, 'b', ARGV[i + 3])) == 'string' then
      local session, token = ARGV[i], ARGV[i + 1]
      redis.call('XADD', feed, 'MAXLEN', '~', ARGV[4], '*', 't', token, 'e', 'append', 's', session, 'i', id)
      stored = true
    else
      id = ''
    end
  end
  added[#added + 1] = id
end
if stored and ARGV[5] ~= '0' then
  redis.call('PEXPIRE', feed, ARGV[5])
end
return { 'APPENDED', table.concat(added, ',') }
