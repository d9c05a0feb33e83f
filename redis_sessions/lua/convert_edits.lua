--[[
  convert_edits: give changed contents other bodies, where they are still what the caller read.

  KEYS
    1  edits      hash    FlowKeys.edits(session)
  ARGV
    1… contents   3 each  entry id; the body that the caller read; its body in the present format

  Returns  {status, …}
    CONVERTED  how many were still what the caller read

  Atomicity  one shard, one step. What a message says does not change, so no event is left.
  Time       O(contents).
]]
local edits = KEYS[1]
local changed = 0
for i = 1, #ARGV, 3 do
  if redis.call('HGET', edits, ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', edits, ARGV[i], ARGV[i + 2])
    changed = changed + 1
  end
end
return { 'CONVERTED', string.format('%.0f', changed) }
