--[[
  delete_session: remove a session with everything in it.

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
    1  session       bytes   session id
    2  token         bytes   names this call in the feed
    3  arrival      text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    4  max_events    int     length of the feed
    5  feed_ttl_ms   int     time to live of the feed
    6  numbers       text    the session's numbers, as read; comma separated

  Returns  {status, …}
    DELETED   "1" if the flow is empty now; its owner, if so; how many messages were in the session; "1" if
              adopted ids may be left (drop_adopted)
    UNKNOWN   an earlier attempt may have been carried out; the feed was trimmed since
    LATE      Redis's time in µs: this attempt came after its time; nothing changed
    MISSING   there is no such session
    MOVED     the session's numbers are not those that were read: read them again

  Atomicity  one shard, one step. Nothing is written that Redis refuses when it is out of memory.
  Time       O(1), and O(adopted ids), at most 1000 of each number.
]]
-- @include record chunks feed drop
local log, edits, ids, sessions, aliases, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local session, token, numbers = ARGV[1], ARGV[2], ARGV[6]

local outcome, now_us, event = arrive(feed, token, ARGV[3])
if outcome == 'DONE' then
  return { 'DELETED', event.f, event.w, event.c, '1' }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

local events = redis.call('XLEN', feed)
redis.call('HLEN', edits)
redis.call('HLEN', aliases)
redis.call('ZSCORE', sessions, session)
local record = redis.call('HGET', ids, 's' .. session)
if not record then
  return { 'MISSING' }
end
if parse_record(record) ~= numbers then
  return { 'MOVED' }
end
local adopted = {}
for i = 9, #KEYS do
  redis.call('SCARD', KEYS[i])
  adopted[#adopted + 1] = KEYS[i]
end

local count = string.format('%.0f', redis.call('XLEN', log))
local keys = { log = log, edits = edits, ids = ids, sessions = sessions, aliases = aliases }
keys.builds, keys.transactions = KEYS[7], KEYS[8]
local empty, owner, left = drop_session(keys, session, numbers, adopted)
publish(feed, events, ARGV[4], ARGV[5],
  't', token, 'e', 'delete_session', 's', session, 'n', numbers, 'c', count, 'f', empty, 'w', owner)
return { 'DELETED', empty, owner, count, left }
