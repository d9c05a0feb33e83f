--[[
  convert_session: write a session's log anew with other bodies, step by step; the last step puts it in place.

  The caller has read the entries and made their bodies: an entry never changes, it can only go.

  KEYS
    1  log        stream  FlowKeys.log(session)
    2  ids        hash    FlowKeys.ids
    3  converted  stream  FlowKeys.converted(session)
  ARGV
    1  session    bytes   session id
    2  record     text    the session's record at the first step; empty: this is the first
    3  from       text    the last entry id of the step before; empty: this is the first
    4  upto       text    the last entry id of this step; "+": this is the last step
    5… bodies     2 each  entry id; its body in the present format. Other entries are copied as they are.

  Returns  {status, …}
    MORE       the last entry id of this step; the record
    CONVERTED  the log has these bodies now
    CHANGED    the session is another one now, or somebody else converts it: begin again
    MISSING    there is no such session

  Atomicity  one shard. Until the last step nothing of the session is touched; that step is one.
  Time       O(entries of the step).
]]
-- @include record
local log, ids, converted = KEYS[1], KEYS[2], KEYS[3]
local session, from, upto = ARGV[1], ARGV[3], ARGV[4]

local record = redis.call('HGET', ids, 's' .. session)
if not record or redis.call('XLEN', log) == 0 then
  return { 'MISSING' }
end
local numbers, _, generation = parse_record(record)
if from == '' then
  redis.call('UNLINK', converted)
else
  local old_numbers, _, old_generation = parse_record(ARGV[2])
  local last = redis.call('XREVRANGE', converted, '+', '-', 'COUNT', 1)[1]
  if numbers ~= old_numbers or generation ~= old_generation or not last or last[1] ~= from then
    return { 'CHANGED' }
  end
end

local bodies = {}
for i = 5, #ARGV, 2 do
  bodies[ARGV[i]] = ARGV[i + 1]
end
local page = redis.call('XRANGE', log, from == '' and '-' or '(' .. from, upto)
for _, entry in ipairs(page) do
  local fields, body = entry[2], bodies[entry[1]]
  for i = 1, body and #fields or 0, 2 do
    if fields[i] == 'b' then
      fields[i + 1] = body
    end
  end
  redis.call('XADD', converted, entry[1], unpack(fields))
end
if upto ~= '+' then
  if #page == 0 then
    return { 'CHANGED' }
  end
  redis.call('PEXPIRE', converted, 3600000)
  return { 'MORE', page[#page][1], record }
end

-- The clock goes on where it was: an id is never given out twice.
local info, clock = redis.call('XINFO', 'STREAM', log), nil
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    clock = info[i + 1]
  end
end
if redis.call('XREVRANGE', converted, '+', '-', 'COUNT', 1)[1][1] ~= clock then
  redis.call('XADD', converted, clock, 'b', '')
  redis.call('XDEL', converted, clock)
end
local ttl_ms = redis.call('PTTL', log)
redis.call('RENAME', converted, log)
if ttl_ms >= 0 then
  redis.call('PEXPIRE', log, string.format('%.0f', ttl_ms))
else
  redis.call('PERSIST', log)
end
return { 'CONVERTED' }
