--[[
  set_owner: give a flow another owner, if its owner is still the one that was read.

  KEYS
    1  ids       hash   FlowKeys.ids
  ARGV
    1  expected  bytes  the owner that was read; empty: none
    2  owner     bytes  the wanted owner; empty: none

  Returns  {status}
    SET       the flow has the wanted owner (also when it had it before)
    CHANGED   the owner is another than was read: read again

  Atomicity  one shard, one step. May be repeated.
  Time       O(1).
]]
local ids = KEYS[1]
local present = redis.call('HGET', ids, 'owner') or ''
if present == ARGV[2] then
  return { 'SET' }
end
if present ~= ARGV[1] then
  return { 'CHANGED' }
end
if ARGV[2] == '' then
  redis.call('HDEL', ids, 'owner')
else
  redis.call('HSET', ids, 'owner', ARGV[2])
end
return { 'SET' }
