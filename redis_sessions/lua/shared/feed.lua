-- Every write leaves one event in the feed, with the token of its call and what it answered.
-- recall finds the event of an earlier attempt, newest first, back to the call's start. The feed's first
-- event ever carries `o`: an oldest event without it means that the feed was trimmed. 5 s are allowed
-- for a failover to a server whose clock differs, and for what passed between the client's look at its own
-- clock and now: connecting, above all.
local function recall(feed, token, elapsed_ms)
  local now = redis.call('TIME')
  local start_ms = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(elapsed_ms)
  local upper, oldest_ms = '+', nil
  while true do
    local page = redis.call('XREVRANGE', feed, upper, '-', 'COUNT', 100)
    for _, event in ipairs(page) do
      oldest_ms = tonumber(string.match(event[1], '^%d+'))
      if oldest_ms < start_ms - 5000 then
        return 'FRESH'
      end
      local found = {}
      for i = 1, #event[2], 2 do
        found[event[2][i]] = event[2][i + 1]
      end
      if found.t == token then
        return 'DONE', found
      elseif found.o then
        return 'FRESH'
      end
      upper = '(' .. event[1]
    end
    if #page < 100 then
      return oldest_ms and 'UNKNOWN' or 'FRESH'
    end
  end
end

local function publish(feed, length, max_events, ttl_ms, ...)
  if length == 0 then
    redis.call('XADD', feed, '*', 'o', '1', ...)
  else
    redis.call('XADD', feed, 'MAXLEN', '~', max_events, '*', ...)
  end
  redis.call('PEXPIRE', feed, ttl_ms)
end
