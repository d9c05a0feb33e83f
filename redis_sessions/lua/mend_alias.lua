--[[
  mend_alias: drop an adopted id that no message has; list one that its session's set does not have.

  KEYS
    1  ids       hash    FlowKeys.ids
    2  aliases   hash    FlowKeys.aliases
    3  log       stream  FlowKeys.log(session)
    4  adopted   set     FlowKeys.adopted(the number of the entry)
  ARGV
    1  id        bytes   the adopted id, 16 bytes
    2  entry     text    the entry id that it leads to, as read
    3  session   bytes   the session that the entry's number leads to, as read; empty: none
    4  mend      flag    1: mend it; empty: only tell

  Returns  {status, …}
    FINE
    CHANGED   the id or the number leads elsewhere than was read, or nowhere; nothing changed
    FOUND     what is wrong: message (there is none), set (the id is not in it)
    MENDED    the same

  Atomicity  one shard, one step. May be repeated.
  Time       O(1).
]]
-- @include record entries
local ids, aliases, log, adopted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, entry_id, session = ARGV[1], ARGV[2], ARGV[3]
local mend = ARGV[4]
local status = 'FOUND'

local is_entry = string.find(entry_id, '^%d+-%d+$')
if redis.call('HGET', aliases, id) ~= entry_id
  or (is_entry and (redis.call('HGET', ids, 'n' .. number_of(entry_id)) or '') ~= session) then
  return { 'CHANGED' }
end
if mend == '1' then
  status = 'MENDED'
end
local listed = redis.call('SISMEMBER', adopted, id) == 1
if is_entry and session ~= '' then
  if redis.call('XLEN', log) == 0 then
    return { 'FINE' } -- expired: forget_session drops it with its session
  end
  local entry = redis.call('XRANGE', log, entry_id, entry_id)[1]
  if entry and field_of(entry, 'i') == id then
    if listed then
      return { 'FINE' }
    end
    if mend == '1' then
      redis.call('SADD', adopted, id)
      local ttl_ms = redis.call('PTTL', log)
      if ttl_ms >= 0 then
        redis.call('PEXPIRE', adopted, string.format('%.0f', ttl_ms + 604800000))
      end
    end
    return { status, 'set' }
  end
end
if mend == '1' then
  redis.call('HDEL', aliases, id)
  redis.call('SREM', adopted, id)
end
return { status, 'message' }
