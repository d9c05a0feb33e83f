--[[
  mend_session: compare a session's log, edits, record and place in the list of sessions; mend what is not as it
  is to be.

  KEYS
    1  log       stream  FlowKeys.log(session)
    2  edits     hash    FlowKeys.edits(session)
    3  ids       hash    FlowKeys.ids
    4  sessions  zset    FlowKeys.sessions
  ARGV
    1  session   bytes   session id
    2  hash      int     the flow's hash, which its session numbers begin with
    3  mend      flag    1: mend it; empty: only tell

  Returns  {status, …}
    FINE
    FOUND     words for what is wrong: edits, record, score, listed, number
    MENDED    the same words
    LOGLESS   the record or nothing: a name without messages (forget_session drops it)
    UNREAD    the record or nothing: a log with an entry of a number that its record does not have, or without a
              record (restore_session)
    CLASH     a number of the record, and the session that it leads to, whose record has it too (mend_clash)
    FOREIGN   the first or last entry is not of this flow: not ours to mend

  Atomicity  one shard, one step. May be repeated.
  Time       O(1), and O(numbers of the session).
]]
-- @include record
local log, edits, ids, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session = ARGV[1]
local mend = ARGV[3]

local record = redis.call('HGET', ids, 's' .. session)
local score = redis.call('ZSCORE', sessions, session)
if redis.call('XLEN', log) == 0 then
  if record and not string.find(record, '^[%d,]+|%d+|%d+$') then
    if mend ~= '1' then
      return { 'FOUND', 'record' }
    end
    redis.call('HDEL', ids, 's' .. session)
    redis.call('ZREM', sessions, session)
    redis.call('UNLINK', log, edits)
    return { 'MENDED', 'record' }
  end
  if record or score or redis.call('EXISTS', log) == 1 then
    return { 'LOGLESS', record or '' }
  end
  -- Edits that expire outlive their log by a minute.
  if redis.call('EXISTS', edits) == 0 or redis.call('PTTL', edits) >= 0 then
    return { 'FINE' }
  end
  redis.call('HLEN', edits)
  if mend ~= '1' then
    return { 'FOUND', 'edits' }
  end
  redis.call('UNLINK', edits)
  return { 'MENDED', 'edits' }
end

local numbers = record and string.match(record, '^([%d,]+)|%d+|%d+$')
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1][1]
for _, entry_id in ipairs({ redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1], last }) do
  local number = number_of(entry_id)
  if math.floor(tonumber(number) / 268435456) ~= tonumber(ARGV[2]) then
    return { 'FOREIGN' }
  elseif not numbers or not string.find(',' .. numbers .. ',', ',' .. number .. ',', 1, true) then
    return { 'UNREAD', record or '' }
  end
end

local wrong, missing = {}, {}
for number in string.gmatch(numbers, '%d+') do
  local name = redis.call('HGET', ids, 'n' .. number)
  if name ~= session then
    local others = name and string.match(redis.call('HGET', ids, 's' .. name) or '', '^[%d,]+') or ''
    if string.find(',' .. others .. ',', ',' .. number .. ',', 1, true) then
      return { 'CLASH', number, name }
    end
    missing[#missing + 1] = 'n' .. number
    missing[#missing + 1] = session
  end
end
local us = string.match(last, '^%d+')
if #missing > 0 then
  wrong[1] = 'number'
end
if not score then
  wrong[#wrong + 1] = 'listed'
elseif tonumber(score) ~= tonumber(us) then
  wrong[#wrong + 1] = 'score'
end
if #wrong == 0 then
  return { 'FINE' }
elseif mend ~= '1' then
  return { 'FOUND', unpack(wrong) }
end
if #missing > 0 then
  redis.call('HSET', ids, unpack(missing))
end
redis.call('ZADD', sessions, us, session)
return { 'MENDED', unpack(wrong) }
