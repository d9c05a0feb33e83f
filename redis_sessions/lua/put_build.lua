--[[
  put_build: keep a vertex's latest build.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  builds        hash    FlowKeys.builds
    3  transactions  stream  FlowKeys.transactions
  ARGV
    1  vertex        bytes   vertex id
    2  registered    flag    1: the flow (and its owner) are in the registry
    3  owner         bytes   who the flow must belong to; empty: anyone
    4  timestamp     int     of the build, in µs
    5  max_ahead_us  int     how far ahead of TIME it may be
    6  max_builds    int     vertices that the flow keeps
    7  body          bytes   the build

  Returns  {status, …}
    STORED
    OLDER         a later build of the vertex is there; nothing changed
    OWNER         the flow belongs to somebody else
    UNREGISTERED  the flow is new, or has no owner yet: register it, then try again
    AHEAD         Redis's time in µs: the build is too far ahead of it

  Atomicity  one shard, one step. The first write is HSET, which Redis refuses when it is out of memory.
             May be repeated: the same build again changes nothing.
  Time       O(1), and O(max_builds) for a new vertex when the flow has that many.
]]
local ids, builds, transactions = KEYS[1], KEYS[2], KEYS[3]
local vertex, owner, time = ARGV[1], ARGV[3], tonumber(ARGV[4])

local present = redis.call('HGET', ids, 'owner')
local latest = redis.call('HGET', builds, 't' .. vertex)
if owner ~= '' and present and present ~= owner then
  return { 'OWNER' }
end
local new = redis.call('EXISTS', ids, builds, transactions) == 0
if ARGV[2] == '' and (new or (owner ~= '' and not present)) then
  return { 'UNREGISTERED' }
end
local now = redis.call('TIME')
if time > now[1] * 1000000 + now[2] + tonumber(ARGV[5]) then
  return { 'AHEAD', string.format('%.0f', now[1] * 1000000 + now[2]) }
end
if latest and tonumber(latest) > time then
  return { 'OLDER' }
end

redis.call('HSET', builds, 't' .. vertex, ARGV[4], 'b' .. vertex, ARGV[7])
if owner ~= '' and not present then
  redis.call('HSET', ids, 'owner', owner)
end
if not latest and redis.call('HLEN', builds) > 2 * tonumber(ARGV[6]) then
  local oldest, oldest_time
  for _, field in ipairs(redis.call('HKEYS', builds)) do
    if string.sub(field, 1, 1) == 't' then
      local at = tonumber(redis.call('HGET', builds, field))
      if not oldest or at < oldest_time then
        oldest, oldest_time = string.sub(field, 2), at
      end
    end
  end
  redis.call('HDEL', builds, 't' .. oldest, 'b' .. oldest)
end
return { 'STORED' }
