-- Every write leaves one event in the feed, with the token of its call and what it answered.
--
-- arrive is what each write begins with. An attempt that comes later than it may is refused: its caller has
-- given it up, and may have been answered through another. A further attempt looks for the event of an earlier
-- one, newest first, back to the call's start. The feed's first event ever carries `o`: an oldest event
-- without it means that the feed was trimmed. 5 s are allowed for a failover to a server whose clock differs.
-- `arrival` is "<latest µs>", or "<latest µs>,<ms since the call began>" for a further attempt.
-- Returns an outcome, Redis's time in µs, and for DONE the event.
local function arrive(feed, token, arrival)
  local now = redis.call('TIME')
  local now_us = now[1] * 1000000 + now[2]
  local latest_us, elapsed_ms = tonumber(arrival), nil
  if not latest_us then
    latest_us, elapsed_ms = string.match(arrival, '^(%d+),(%d+)$')
    latest_us = tonumber(latest_us)
  end
  if now_us > latest_us then
    return 'LATE', now_us
  elseif not elapsed_ms then
    return 'FRESH', now_us
  end
  local start_ms = math.floor(now_us / 1000) - tonumber(elapsed_ms)
  local upper, oldest_ms = '+', nil
  while true do
    local page = redis.call('XREVRANGE', feed, upper, '-', 'COUNT', 100)
    for _, event in ipairs(page) do
      oldest_ms = tonumber(string.match(event[1], '^%d+'))
      if oldest_ms < start_ms - 5000 then
        return 'FRESH', now_us
      end
      local found = {}
      for i = 1, #event[2], 2 do
        found[event[2][i]] = event[2][i + 1]
      end
      if found.t == token then
        -- A write that changes nothing: WAIT behind it waits for the earlier attempt's, and a replica, which
        -- may not know what its new primary has lost, refuses.
        local ttl_ms = redis.call('PTTL', feed)
        if ttl_ms > 0 then
          redis.call('PEXPIRE', feed, ttl_ms)
        end
        return 'DONE', now_us, found
      elseif found.o then
        return 'FRESH', now_us
      end
      upper = '(' .. event[1]
    end
    if #page < 100 then
      return oldest_ms and 'UNKNOWN' or 'FRESH', now_us
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
