--[[
  mend_edits: drop changed contents whose message is not there.

  KEYS
    1  log       stream  FlowKeys.log(session)
    2  edits     hash    FlowKeys.edits(session)
  ARGV
    1  mend      flag    1: mend it; empty: only tell
    2… entries   text    entry ids, at most 1000

  Returns  {status, …}
    FOUND     the entry ids that are in the edits and not in the log
    MENDED    the same

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(entries).
]]
-- @include chunks
local log, edits = KEYS[1], KEYS[2]
local wrong = {}
if redis.call('XLEN', log) > 0 then
  for i = 2, #ARGV do
    if redis.call('HEXISTS', edits, ARGV[i]) == 1 then
      local found = string.match(ARGV[i], '^%d+-%d+$') and redis.call('XRANGE', log, ARGV[i], ARGV[i])[1]
      if not found then
        wrong[#wrong + 1] = ARGV[i]
      end
    end
  end
end
if ARGV[1] ~= '1' then
  return { 'FOUND', unpack(wrong) }
end
in_chunks('HDEL', edits, wrong)
return { 'MENDED', unpack(wrong) }
