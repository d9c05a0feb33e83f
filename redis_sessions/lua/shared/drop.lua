-- drop_session removes a session's name, numbers and adopted ids; with the flow's last one go its maps.
-- Returns '1' when the flow is empty now, and its owner.
local function drop_session(keys, session, numbers, adopted)
  for _, key in ipairs(adopted) do
    in_chunks('HDEL', keys.aliases, redis.call('SMEMBERS', key))
    redis.call('UNLINK', key)
  end
  redis.call('UNLINK', keys.log, keys.edits)
  local fields = { 's' .. session }
  for number in string.gmatch(numbers, '%d+') do
    fields[#fields + 1] = 'n' .. number
  end
  in_chunks('HDEL', keys.ids, fields)
  redis.call('ZREM', keys.sessions, session)
  if redis.call('EXISTS', keys.sessions, keys.builds, keys.transactions) > 0 then
    return '', ''
  end
  local owner = redis.call('HGET', keys.ids, 'owner') or ''
  redis.call('UNLINK', keys.ids, keys.aliases)
  return '1', owner
end
