--[[
  drop_flow: remove what is left of a flow that has no sessions.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  sessions      zset    FlowKeys.sessions
    3  aliases       hash    FlowKeys.aliases
    4  feed          stream  FlowKeys.feed
    5  builds        hash    FlowKeys.builds
    6  transactions  stream  FlowKeys.transactions
    7  jobs          hash    FlowKeys.jobs

  Returns  {status, …}
    DROPPED   the owner that the flow had, or nothing
    BUSY      the flow has sessions: delete them first

  Atomicity  one shard, one step. May be repeated.
  Time       O(1).
]]
local ids, sessions, aliases, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local builds, transactions, jobs = KEYS[5], KEYS[6], KEYS[7]
if redis.call('EXISTS', sessions) == 1 then
  return { 'BUSY' }
end
local owner = redis.call('HGET', ids, 'owner') or ''
redis.call('UNLINK', ids, aliases, feed, builds, transactions, jobs)
return { 'DROPPED', owner }
