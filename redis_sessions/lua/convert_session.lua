--[[
  convert_session: write a session's log anew in the present format, step by step; the last step puts it in place.

  KEYS
    1  log        stream  FlowKeys.log(session)
    2  edits      hash    FlowKeys.edits(session)
    3  ids        hash    FlowKeys.ids
    4  converted  stream  FlowKeys.converted(session)
  ARGV
    1  session    bytes   session id
    2  record     text    the session's record at the first step; empty: this is the first
    3  from       text    the last entry id of the step before
    4  count      int     entries of this step
    5  convert    flag    1: convert; empty: only look for entries of an older format

  Returns  {status, …}
    MORE       the last entry id of this step; how many of its entries are of an older format; the record
    LOOKED     nothing; how many of the last step's entries, and of the changed contents, are of an older format
    CONVERTED  nothing; the same: the session is of the present format now
    CHANGED    the session is another one now, or somebody else converts it: begin again
    MISSING    there is no such session

  Atomicity  one shard. Until the last step nothing of the session is touched; that step is one.
  Time       O(count), and O(edits) in the last step.
]]
-- @include record
local log, edits, ids, converted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local session, from, count = ARGV[1], ARGV[3], tonumber(ARGV[4])

-- Format 1: two lines of members, a line with the rest. Format 2: the rest; an object in two lines.
local function to_present(body)
  local head, shown, rest = string.match(body, '^("sender":[^\n]*)\n([^\n]*)\n([^\n]*)$')
  return head and rest .. '\n{' .. head .. '\n,' .. shown .. '}'
end

local record = redis.call('HGET', ids, 's' .. session)
if not record or redis.call('XLEN', log) == 0 then
  return { 'MISSING' }
end
local numbers, _, generation = parse_record(record)
if from ~= '' then
  local old_numbers, _, old_generation = parse_record(ARGV[2])
  if numbers ~= old_numbers or generation ~= old_generation then
    return { 'CHANGED' }
  end
end
if ARGV[5] == '1' and from == '' then
  redis.call('UNLINK', converted)
elseif ARGV[5] == '1' then
  local last = redis.call('XREVRANGE', converted, '+', '-', 'COUNT', 1)[1]
  if not last or last[1] ~= from then
    return { 'CHANGED' }
  end
end

local old = 0
local page = redis.call('XRANGE', log, from == '' and '-' or '(' .. from, '+', 'COUNT', count)
for _, entry in ipairs(page) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    local present = fields[i] == 'b' and to_present(fields[i + 1])
    if present then
      fields[i + 1] = present
      old = old + 1
    end
  end
  if ARGV[5] == '1' then
    redis.call('XADD', converted, entry[1], unpack(fields))
  end
end
if #page == count then
  if ARGV[5] == '1' then
    redis.call('PEXPIRE', converted, 3600000)
  end
  return { 'MORE', page[#page][1], string.format('%.0f', old), record }
end

local changes, names = {}, redis.call('HKEYS', edits)
for first = 1, #names, 100 do
  local some = { unpack(names, first, math.min(first + 99, #names)) }
  for i, body in ipairs(redis.call('HMGET', edits, unpack(some))) do
    local present = to_present(body)
    if present then
      changes[#changes + 1] = some[i]
      changes[#changes + 1] = present
      old = old + 1
    end
  end
end
if ARGV[5] ~= '1' then
  return { 'LOOKED', '', string.format('%.0f', old) }
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
for first = 1, #changes, 200 do
  redis.call('HSET', edits, unpack(changes, first, math.min(first + 199, #changes)))
end
local ttl_ms = redis.call('PTTL', log)
redis.call('RENAME', converted, log)
if ttl_ms >= 0 then
  redis.call('PEXPIRE', log, string.format('%.0f', ttl_ms))
else
  redis.call('PERSIST', log)
end
return { 'CONVERTED', '', string.format('%.0f', old) }
