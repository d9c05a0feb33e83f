-- A session's keys live equally long: until ttl_ms after its last write, or, where this writer sets no
-- time to live, as long as its log. Adopted sets stay a week longer: forget_session reads them.
local function touch(ttl_ms, log, edits, adopted)
  ttl_ms = tonumber(ttl_ms)
  if ttl_ms == 0 then
    ttl_ms = redis.call('PTTL', log)
    if ttl_ms < 0 then
      return
    end
  else
    redis.call('PEXPIRE', log, ttl_ms)
  end
  redis.call('PEXPIRE', edits, ttl_ms)
  for _, key in ipairs(adopted) do
    redis.call('PEXPIRE', key, string.format('%.0f', ttl_ms + 604800000))
  end
end
