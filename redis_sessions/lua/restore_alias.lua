--[[
  restore_alias: enter an adopted id that a message has and that leads nowhere.

  KEYS
    1  ids       hash    FlowKeys.ids
    2  aliases   hash    FlowKeys.aliases
    3  log       stream  FlowKeys.log(session)
    4  adopted   set     FlowKeys.adopted(the number of the entry)
  ARGV
    1  id        bytes   the adopted id, 16 bytes
    2  entry     text    the entry id of the message that has it
    3  session   bytes   the session of the entry's number
    4  mend      flag    1: mend it; empty: only tell

  Returns  {status}
    FINE      it leads to the message
    CHANGED   it leads to another, or the message or its session is not there any more; nothing changed
    FOUND     it leads nowhere
    MENDED    it leads to the message now

  Atomicity  one shard, one step. May be repeated.
  Time       O(1).
]]
-- @include record entries
local ids, aliases, log, adopted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, entry_id, session = ARGV[1], ARGV[2], ARGV[3]

local present = redis.call('HGET', aliases, id)
if present == entry_id then
  return { 'FINE' }
end
local entry = redis.call('XRANGE', log, entry_id, entry_id)[1]
if present or not entry or field_of(entry, 'i') ~= id
  or redis.call('HGET', ids, 'n' .. number_of(entry_id)) ~= session then
  return { 'CHANGED' }
end
redis.call('SCARD', adopted)
if ARGV[4] ~= '1' then
  return { 'FOUND' }
end
redis.call('HSET', aliases, id, entry_id)
redis.call('SADD', adopted, id)
local ttl_ms = redis.call('PTTL', log)
if ttl_ms >= 0 then
  redis.call('PEXPIRE', adopted, string.format('%.0f', ttl_ms + 604800000))
end
return { 'MENDED' }
