-- drop_session removes a session's name, numbers and adopted ids; with the flow's last one go its maps.
-- Returns '1' when the flow is empty now, its owner, and '1' when adopted ids are left for drop_adopted: nobody
-- finds them, as their number names no session. What a crash leaves of them goes after a day, or with the flow.
local function drop_session(keys, session, numbers, adopted)
  redis.call('UNLINK', keys.log, keys.edits)
  local fields = { 's' .. session }
  for number in string.gmatch(numbers, '%d+') do
    fields[#fields + 1] = 'n' .. number
  end
  in_chunks('HDEL', keys.ids, fields)
  redis.call('ZREM', keys.sessions, session)
  local alive = redis.call('EXISTS', keys.sessions, keys.builds, keys.transactions) > 0
  local left = ''
  for _, key in ipairs(adopted) do
    if not alive then
      redis.call('UNLINK', key)
    elseif redis.call('SCARD', key) <= 1000 then
      in_chunks('HDEL', keys.aliases, redis.call('SMEMBERS', key))
      redis.call('UNLINK', key)
    else
      redis.call('PEXPIRE', key, 86400000)
      left = '1'
    end
  end
  if alive then
    return '', '', left
  end
  local owner = redis.call('HGET', keys.ids, 'owner') or ''
  redis.call('UNLINK', keys.ids, keys.aliases)
  return '1', owner, ''
end
