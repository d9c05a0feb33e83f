--[[
  forget_session: drop the name of a session whose log has expired.

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
    2  max_events    int     length of the feed
    3  feed_ttl_ms   int     time to live of the feed
    4  numbers       text    the session's numbers, as read; comma separated

  Returns  {status, …}
    FORGOTTEN  "1" if the flow is empty now; its owner, if so; "1" if adopted ids are left (drop_adopted)
    ALIVE      the session has messages, or is another one now; nothing changed

  Atomicity  one shard, one step. May be repeated.
  Time       O(1), and O(adopted ids), at most 1000 of each number.
]]
-- @include chunks feed drop
local log, edits, ids, sessions, aliases, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local session, numbers = ARGV[1], ARGV[4]

local events = redis.call('XLEN', feed)
redis.call('HLEN', edits)
redis.call('HLEN', aliases)
redis.call('ZSCORE', sessions, session)
local record, length = redis.call('HGET', ids, 's' .. session), redis.call('XLEN', log)
-- A log without a record is what is left when the flow's maps were lost: nobody can read it.
if record and (length > 0 or string.match(record, '^[%d,]+') ~= numbers) then
  return { 'ALIVE' }
end
-- A number that leads to another session is that one's, whatever this record says.
local adopted, mine, seen = {}, {}, {}
for number in string.gmatch(numbers, '%d+') do
  local key = KEYS[9 + #seen]
  local name = redis.call('HGET', ids, 'n' .. number)
  redis.call('SCARD', key)
  if not name or name == session then
    adopted[#adopted + 1], mine[#mine + 1] = key, number
  end
  seen[#seen + 1] = number
end
numbers = table.concat(mine, ',')

local keys = { log = log, edits = edits, ids = ids, sessions = sessions, aliases = aliases }
keys.builds, keys.transactions = KEYS[7], KEYS[8]
local empty, owner, left = drop_session(keys, session, numbers, adopted)
if record then
  publish(feed, events, ARGV[2], ARGV[3],
  'e', 'delete_session', 's', session, 'n', numbers, 'c', '0')
end
return { 'FORGOTTEN', empty, owner, left }
