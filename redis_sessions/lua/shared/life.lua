-- A session's keys live equally long: until ttl_ms after its last write, or, where this writer sets no
-- time to live, as long as its log. Edits stay a minute longer, for readers that have just seen the log,
-- and adopted sets a week: forget_session reads them. `ttl` says that listing must look for expired names.
local function touch(ttl_ms, ids, log, edits, adopted)
  ttl_ms = tonumber(ttl_ms)
  if ttl_ms == 0 then
    ttl_ms = redis.call('PTTL', log)
    if ttl_ms < 0 then
      return
    end
  else
    redis.call('PEXPIRE', log, string.format('%.0f', ttl_ms))
    redis.call('HSET', ids, 'ttl', '1')
  end
  redis.call('PEXPIRE', edits, string.format('%.0f', ttl_ms + 60000))
  for _, key in ipairs(adopted) do
    redis.call('PEXPIRE', key, string.format('%.0f', ttl_ms + 604800000))
  end
end
