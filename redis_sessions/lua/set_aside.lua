--[[
  set_aside: give a key that holds another type than it is to hold a name where it is in nobody's way.

  KEYS
    1  found     any     any key of the store
    2  aside     any     FlowKeys.aside(found), or Keys.aside(found)
  ARGV
    1  type      text    the type that it is to hold

  Returns  {status}
    ASIDE     it has the other name now; its content is untouched
    FINE      it holds the type that it is to hold, or is not there
    TAKEN     there is a key of the other name already; nothing changed

  Atomicity  one shard, one step. May be repeated.
  Time       O(1).
]]
local found, aside = KEYS[1], KEYS[2]
local present = redis.call('TYPE', found).ok
if present == 'none' or present == ARGV[1] then
  return { 'FINE' }
end
if redis.call('EXISTS', aside) == 1 then
  return { 'TAKEN' }
end
redis.call('RENAME', found, aside)
return { 'ASIDE' }
