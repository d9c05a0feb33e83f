--[[
  drop_adopted: remove some of the adopted ids of a session that is gone; for what is too much for one step.

  KEYS
    1  adopted  set   FlowKeys.adopted(number)
    2  aliases  hash  FlowKeys.aliases
    3  ids      hash  FlowKeys.ids
  ARGV
    1  number   int   the session number that they belonged to
    2  cursor   text  where to go on; "0" at first
    3  count    int   about how many at a time

  Returns  {status, …}
    SWEPT  where to go on; "0": all are gone
    KEPT   the number is a session's; nothing changed

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(count).
]]
-- @include record chunks
local adopted, aliases, ids = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HEXISTS', ids, 'n' .. ARGV[1]) == 1 then
  return { 'KEPT' }
end
local page = redis.call('SSCAN', adopted, ARGV[2], 'COUNT', ARGV[3])
local members = page[2]
for first = 1, #members, 1000 do
  local some = { unpack(members, first, math.min(first + 999, #members)) }
  local dead = {}
  for i, address in ipairs(redis.call('HMGET', aliases, unpack(some))) do
    -- An id that was adopted again since belongs to another number.
    if address and number_of(address) == ARGV[1] then
      dead[#dead + 1] = some[i]
    end
  end
  in_chunks('HDEL', aliases, dead)
end
in_chunks('SREM', adopted, members)
if page[1] == '0' then
  redis.call('UNLINK', adopted)
end
return { 'SWEPT', page[1] }
