--[[
  delete_builds: remove all builds of a flow.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  sessions      zset    FlowKeys.sessions
    3  aliases       hash    FlowKeys.aliases
    4  builds        hash    FlowKeys.builds
    5  transactions  stream  FlowKeys.transactions
    6  jobs          hash    FlowKeys.jobs

  Returns  {status, …}
    DELETED   "1" if the flow is empty now; its owner, if so; how many vertices had builds

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(1).
]]
local ids, sessions, aliases, builds = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local transactions, jobs = KEYS[5], KEYS[6]

local owner = redis.call('HGET', ids, 'owner')
local count = string.format('%.0f', redis.call('HLEN', builds) / 2)
-- An owner without anything else is a flow that was given away before its first write.
local nothing = count == '0' and owner
redis.call('UNLINK', builds, jobs)
if nothing or redis.call('EXISTS', sessions, transactions) > 0 then
  return { 'DELETED', '', '', count }
end
redis.call('UNLINK', ids, aliases)
return { 'DELETED', '1', owner or '', count }
