--[[
  mend_adopted: drop from a set of adopted ids those that do not belong to its session number.

  KEYS
    1  adopted   set   FlowKeys.adopted(number)
    2  ids       hash  FlowKeys.ids
    3  aliases   hash  FlowKeys.aliases
  ARGV
    1  number    int    session number
    2  mend      flag   1: mend it; empty: only tell
    3… members   bytes  adopted ids of the set, as read; at most 1000

  Returns  {status, …}
    FOUND     the ids that lead elsewhere, or nowhere
    MENDED    the same

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(members).
]]
-- @include record chunks
local adopted, ids, aliases = KEYS[1], KEYS[2], KEYS[3]
local wrong = {}
-- The set of a session that has expired waits for forget_session, and then for its own end.
if redis.call('HEXISTS', ids, 'n' .. ARGV[1]) == 1 or redis.call('PTTL', adopted) < 0 then
  for i = 3, #ARGV do
    local entry_id = redis.call('HGET', aliases, ARGV[i])
    local belongs = entry_id and string.find(entry_id, '^%d+-%d+$') and number_of(entry_id) == ARGV[1]
    if not belongs and redis.call('SISMEMBER', adopted, ARGV[i]) == 1 then
      wrong[#wrong + 1] = ARGV[i]
    end
  end
end
if ARGV[2] ~= '1' then
  return { 'FOUND', unpack(wrong) }
end
in_chunks('SREM', adopted, wrong)
return { 'MENDED', unpack(wrong) }
