--[[
  add_transaction: note a component's run at the end of the flow's transactions; the oldest go.

  KEYS
    1  ids               hash    FlowKeys.ids
    2  builds            hash    FlowKeys.builds
    3  transactions      stream  FlowKeys.transactions
  ARGV
    1  id                bytes   the transaction's id; finds an earlier attempt of the same call
    2  elapsed_ms        int     since the call began; empty on its first attempt
    3  registered        flag    1: the flow (and its owner) are in the registry
    4  owner             bytes   who the flow must belong to; empty: anyone
    5  timestamp         int     of the transaction, in µs
    6  max_ahead_us      int     how far ahead of TIME it may be
    7  max_transactions  int     transactions that the flow keeps
    8  body              bytes   the transaction

  Returns  {status, …}
    ADDED
    OWNER         the flow belongs to somebody else
    UNREGISTERED  the flow is new, or has no owner yet: register it, then try again
    AHEAD         the transaction is too far ahead of Redis's time

  Atomicity  one shard, one step. The first write is XADD, which Redis refuses when it is out of memory.
  Time       O(1); an attempt after the first looks through at most the 1000 newest.
]]
-- @include entries
local ids, builds, transactions = KEYS[1], KEYS[2], KEYS[3]
local id, owner = ARGV[1], ARGV[4]

if ARGV[2] ~= '' then
  local upper = '+'
  for _ = 1, 10 do
    local page = redis.call('XREVRANGE', transactions, upper, '-', 'COUNT', 100)
    for _, entry in ipairs(page) do
      if field_of(entry, 'i') == id then
        return { 'ADDED' }
      end
      upper = '(' .. entry[1]
    end
    if #page < 100 then
      break
    end
  end
end

local present = redis.call('HGET', ids, 'owner')
redis.call('XLEN', transactions)
if owner ~= '' and present and present ~= owner then
  return { 'OWNER' }
end
local new = redis.call('EXISTS', ids, builds, transactions) == 0
if ARGV[3] == '' and (new or (owner ~= '' and not present)) then
  return { 'UNREGISTERED' }
end
local now = redis.call('TIME')
if tonumber(ARGV[5]) > now[1] * 1000000 + now[2] + tonumber(ARGV[6]) then
  return { 'AHEAD' }
end

add_entry(transactions, {}, '0', ARGV[5], 'i', id, 'b', ARGV[8])
redis.call('XTRIM', transactions, 'MAXLEN', '=', ARGV[7])
if owner ~= '' and not present then
  redis.call('HSET', ids, 'owner', owner)
end
return { 'ADDED' }
