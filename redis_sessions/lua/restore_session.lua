--[[
  restore_session: give a log that no record leads to a record again, and with it its messages.

  KEYS
    1  log       stream  FlowKeys.log(session)
    2  ids       hash    FlowKeys.ids
    3  sessions  zset    FlowKeys.sessions
    4  aliases   hash    FlowKeys.aliases
    5… adopted   set     FlowKeys.adopted(number), for each of ARGV numbers
  ARGV
    1  session   bytes   session id
    2  record    text    its record, as read; empty: none
    3  first     text    the log's first entry id, as read
    4  last      text    the log's last entry id, as read
    5  length    int     the log's length, as read
    6  lateness  int     largest difference in µs between an entry and its message
    7  numbers   text    session numbers of the entries, of KEYS 5…, comma separated; the last entry's comes first
    8… labels    bytes   in pairs: an adopted id of 16 bytes, its entry id

  Returns  {status}
    RESTORED
    CHANGED   the log or its record is not what was read
    CLASH     every number belongs to another session

  Atomicity  one shard, one step. May be repeated.
  Time       O(numbers), and O(adopted ids).
]]
-- @include record
local log, ids, sessions, aliases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session, record = ARGV[1], ARGV[2]

if (redis.call('HGET', ids, 's' .. session) or '') ~= record
  or string.format('%.0f', redis.call('XLEN', log)) ~= ARGV[5]
  or redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1] ~= ARGV[3]
  or redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1][1] ~= ARGV[4] then
  return { 'CHANGED' }
end
redis.call('HLEN', aliases)
redis.call('ZSCORE', sessions, session)
local adopted, adopted_of, mine = {}, {}, {}
for number in string.gmatch(ARGV[7], '%d+') do
  local name = redis.call('HGET', ids, 'n' .. number)
  adopted[#adopted + 1] = KEYS[5 + #adopted]
  redis.call('SCARD', adopted[#adopted])
  if not name or name == session then
    mine[#mine + 1] = number
    adopted_of[number] = adopted[#adopted]
  end
end
-- Numbers of the present record stay, and the present primary stays the first.
local numbers, lateness, generation = string.match(record, '^([%d,]+)|(%d+)|(%d+)$')
local known = {}
for number in string.gmatch(numbers or '', '%d+') do
  known[#known + 1] = number
  known[number] = true
end
local gained = false
for _, number in ipairs(mine) do
  if not known[number] then
    known[#known + 1] = number
    gained = true
  end
end
if not gained then
  return { 'CLASH' }
end

redis.call('ZADD', sessions, string.match(ARGV[4], '^%d+'), session)
local late = math.max(tonumber(lateness or 0), tonumber(ARGV[6]))
redis.call('HSET', ids, 's' .. session, format_record(table.concat(known, ','), late, tonumber(generation or 0) + 1))
for _, number in ipairs(known) do
  redis.call('HSET', ids, 'n' .. number, session)
end
if redis.call('PTTL', log) >= 0 then
  redis.call('HSET', ids, 'ttl', '1') -- sessions of this flow expire: listing has to look
end
for i = 8, #ARGV, 2 do
  local key = adopted_of[number_of(ARGV[i + 1])]
  if key and redis.call('HSETNX', aliases, ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('SADD', key, ARGV[i])
  end
end
return { 'RESTORED' }
