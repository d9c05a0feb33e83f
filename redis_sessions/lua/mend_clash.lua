--[[
  mend_clash: take a session number from a session that has no message of it, and that another session has too.

  KEYS
    1  ids      hash    FlowKeys.ids
    2  log      stream  FlowKeys.log(session)
  ARGV
    1  session  bytes   the session that it is taken from
    2  record   text    its record, as read
    3  last     text    its log's last entry id, as read; empty: it has none
    4  length   int     its log's length, as read
    5  number   text    the number
    6  keeper   bytes   the session that keeps it

  Returns  {status}
    PARTED     the number is the keeper's alone, and leads to it; a session without another number has no record
              any more (restore_session)
    CHANGED   the session is not what was read, or the keeper does not have the number; nothing changed

  Atomicity  one shard, one step. May be repeated.
  Time       O(numbers of both sessions).
]]
-- @include record
local ids, log = KEYS[1], KEYS[2]
local session, record, number, keeper = ARGV[1], ARGV[2], ARGV[5], ARGV[6]

local numbers, lateness, generation = parse_record(record)
local kept = string.match(redis.call('HGET', ids, 's' .. keeper) or '', '^[%d,]+') or ''
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not numbers or redis.call('HGET', ids, 's' .. session) ~= record
  or (last and last[1] or '') ~= ARGV[3]
  or string.format('%.0f', redis.call('XLEN', log)) ~= ARGV[4]
  or not string.find(',' .. kept .. ',', ',' .. number .. ',', 1, true) then
  return { 'CHANGED' }
end
local others = {}
for other in string.gmatch(numbers, '%d+') do
  if other ~= number then
    others[#others + 1] = other
  end
end
redis.call('HSET', ids, 'n' .. number, keeper)
if #others > 0 then
  redis.call('HSET', ids, 's' .. session, format_record(table.concat(others, ','), lateness, generation))
else
  redis.call('HDEL', ids, 's' .. session)
end
return { 'PARTED' }
