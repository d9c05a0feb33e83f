--[[
  rename_session: give a session another id, or merge it into the session that has that id.

  KEYS
    1  log          stream  FlowKeys.log(old)
    2  edits        hash    FlowKeys.edits(old)
    3  new_log      stream  FlowKeys.log(new)
    4  new_edits    hash    FlowKeys.edits(new)
    5  ids          hash    FlowKeys.ids
    6  sessions     zset    FlowKeys.sessions
    7  feed         stream  FlowKeys.feed
    8  merge        stream  FlowKeys.merge
  ARGV
    1  old          bytes   present session id
    2  new          bytes   wanted session id
    3  token        bytes   names this call in the feed
    4  arrival     text    until when it may be carried out, and since when it is tried (shared/feed.lua)
    5  number       int     the session's primary number, as read
    6  max_merge    int     entries of both that a merge may touch
    7  max_numbers  int     session numbers that a merged session may have
    8  ttl_ms       int     time to live of the session; 0: leave it
    9  max_events   int     length of the feed
   10  feed_ttl_ms  int     time to live of the feed
   11  max_edits    int     changed messages that both sessions may have
   12  max_bytes    int     bytes of changed contents that both sessions may have
   13  progress     text    of a merge that is under way: what STAGED answered; else empty
   14  places       text    likewise

  Returns  {status, …}
    RENAMED   entries in the session; the numbers that moved
    MERGED    entries in the merged session; the numbers that moved
    UNKNOWN   an earlier attempt may have been carried out; the feed was trimmed since
    LATE      Redis's time in µs: this attempt came after its time; nothing changed
    MISSING   there is no such session
    MOVED     the old id names another session than was read: read it again
    EXPIRED   the record of the new id's session: its log has expired; forget it, then try again
    STAGED    a step of a long merge: its progress; the records of both, but for their lateness. No message
              has moved yet: go on with these
    RESTAGE   what was staged does not fit any more; begin anew, without progress
    BUSY      another merge is under way in this flow; try again in a moment
    STRAY     a key of the new name exists that no session owns
    LIMIT     entries of both; the merge is over max_merge, max_edits or max_bytes, or would leave over max_numbers
              numbers

  Atomicity  one shard, one step: no reader sees both names, or neither.
  Time       O(numbers); when both exist O(entries copied in this step), at most 500, and O(changed messages).
]]
-- @include record feed life merge
local log, edits, new_log, new_edits, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sessions, feed, merge = KEYS[6], KEYS[7], KEYS[8]
local old, new, token = ARGV[1], ARGV[2], ARGV[3]

local outcome, now_us, event = arrive(feed, token, ARGV[4])
if outcome == 'DONE' then
  return { event.r, event.c, event.n }
elseif outcome == 'UNKNOWN' then
  return { 'UNKNOWN' }
elseif outcome == 'LATE' then
  return { 'LATE', string.format('%.0f', now_us) }
end

local events = redis.call('XLEN', feed)
local both_edited = math.min(redis.call('HLEN', edits), redis.call('HLEN', new_edits))
local records = redis.call('HMGET', ids, 's' .. old, 's' .. new)
local record, new_record = records[1], records[2]
local length, new_length = redis.call('XLEN', log), redis.call('XLEN', new_log)
local score = tonumber(redis.call('ZSCORE', sessions, old) or 0)
if not record or length == 0 then
  return { 'MISSING' }
end
local numbers, lateness, generation = parse_record(record)
if not numbers or primary(numbers) ~= ARGV[5] then
  return { 'MOVED' }
end
if new_record and new_length == 0 then
  return { 'EXPIRED', new_record }
end
if not new_record and new_length > 0 then
  return { 'STRAY' }
end

local status, moved = 'RENAMED', numbers
if new_record then
  status = 'MERGED'
  local new_numbers, new_lateness, new_generation = parse_record(new_record)
  numbers = new_numbers .. ',' .. numbers
  local _, commas = string.gsub(numbers, ',', '')
  if length + new_length > tonumber(ARGV[6]) or commas + 1 > tonumber(ARGV[7]) or both_edited > tonumber(ARGV[11]) then
    return { 'LIMIT', string.format('%.0f', length + new_length) }
  end
  local places = string.format('%s|%.0f %s|%.0f', moved, generation, new_numbers, new_generation)
  if ARGV[14] ~= '' and ARGV[14] ~= places then
    return { 'RESTAGE' }
  end
  local progress, done = stage(log, new_log, merge, ARGV[13])
  if done == 'BUSY' then
    return { 'BUSY' }
  elseif not progress then
    return { 'RESTAGE' }
  elseif not done or (both_edited > 100 and progress ~= ARGV[13]) then -- changes are a step of their own
    return { 'STAGED', progress, places }
  end
  local from, changed = fewer_edits(edits, new_edits, tonumber(ARGV[12]))
  if not from then
    redis.call('UNLINK', merge)
    return { 'LIMIT', string.format('%.0f', length + new_length) }
  end
  put_in_place(log, new_log, merge)
  merge_edits(edits, new_edits, new_log, from, changed)
  score = math.max(score, tonumber(redis.call('ZSCORE', sessions, new) or 0))
  lateness, generation = math.max(lateness, new_lateness), math.max(generation, new_generation) + 1
  length = length + new_length
else
  generation = generation + 1
  redis.call('RENAME', log, new_log)
  redis.call('UNLINK', new_edits)
  if redis.call('EXISTS', edits) == 1 then
    redis.call('RENAME', edits, new_edits)
  end
end

local fields = { 's' .. new, format_record(numbers, lateness, generation) }
for number in string.gmatch(moved, '%d+') do
  fields[#fields + 1] = 'n' .. number
  fields[#fields + 1] = new
end
redis.call('HSET', ids, unpack(fields))
redis.call('HDEL', ids, 's' .. old)
redis.call('ZADD', sessions, string.format('%.0f', score), new)
redis.call('ZREM', sessions, old)
touch(ARGV[8], ids, new_log, new_edits, {})
local count = string.format('%.0f', length)
publish(feed, events, ARGV[9], ARGV[10],
  't', token, 'e', 'rename', 's', new, 'old', old, 'r', status, 'c', count, 'n', moved)
return { status, count, moved }
