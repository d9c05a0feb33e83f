--[[
  delete_transactions: remove some of a flow's transactions.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  sessions      zset    FlowKeys.sessions
    3  aliases       hash    FlowKeys.aliases
    4  builds        hash    FlowKeys.builds
    5  transactions  stream  FlowKeys.transactions
  ARGV
    1… entry_ids     text each

  Returns  {status, …}
    DELETED   "1" if the flow is empty now; its owner, if so; how many transactions were removed

  Atomicity  one shard, one step. May be repeated. Nothing is written that Redis refuses when it is out of
             memory.
  Time       O(entries).
]]
local ids, sessions, aliases, builds, transactions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local owner = redis.call('HGET', ids, 'owner')
local count = 0
for i = 1, #ARGV do
  count = count + redis.call('XDEL', transactions, ARGV[i])
end
local removed = string.format('%.0f', count)
if count > 0 and redis.call('XLEN', transactions) == 0 then
  redis.call('UNLINK', transactions)
  if redis.call('EXISTS', sessions, builds) == 0 then
    redis.call('UNLINK', ids, aliases)
    return { 'DELETED', '1', owner or '', removed }
  end
end
return { 'DELETED', '', '', removed }
