--[[
  mend_numbers: drop numbers that lead to no session.

  KEYS
    1  ids       hash  FlowKeys.ids
  ARGV
    1  mend      flag  1: mend it; empty: only tell
    2… numbers   text  session numbers, at most 1000

  Returns  {status, …}
    FOUND     the numbers whose session has no record, or one without the number
    MENDED    the same

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(numbers).
]]
-- @include chunks
local ids = KEYS[1]
local wrong, fields = {}, {}
for i = 2, #ARGV do
  local name = redis.call('HGET', ids, 'n' .. ARGV[i])
  if name then
    local record = redis.call('HGET', ids, 's' .. name) or ''
    local numbers = string.match(record, '^[%d,]+') or ''
    if not string.find(',' .. numbers .. ',', ',' .. ARGV[i] .. ',', 1, true) then
      wrong[#wrong + 1] = ARGV[i]
      fields[#fields + 1] = 'n' .. ARGV[i]
    end
  end
end
if ARGV[1] ~= '1' then
  return { 'FOUND', unpack(wrong) }
end
in_chunks('HDEL', ids, fields)
return { 'MENDED', unpack(wrong) }
