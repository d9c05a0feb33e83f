--[[
  put_build: keep a vertex's latest build, and those of the jobs before it.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  builds        hash    FlowKeys.builds
    3  transactions  stream  FlowKeys.transactions
    4  jobs          hash    FlowKeys.jobs
  ARGV
    1  vertex        bytes   vertex id
    2  registered    flag    1: the flow (and its owner) are in the registry
    3  owner         bytes   who the flow must belong to; empty: anyone
    4  timestamp     int     of the build, in µs
    5  max_ahead_us  int     how far ahead of TIME it may be
    6  max_vertices  int     vertices that the flow keeps
    7  max_builds    int     builds that the flow keeps, of all vertices and jobs
    8  per_vertex    int     builds that it keeps of one vertex
    9  job           bytes   the job that built it; empty: none
   10  body          bytes   the build

  Returns  {status, …}
    STORED
    OLDER         a later build of the vertex is there; this one is kept for its job only
    OWNER         the flow belongs to somebody else
    UNREGISTERED  the flow is new, or has no owner yet: register it, then try again
    AHEAD         the build is too far ahead of Redis's time

  Atomicity  one shard, one step. The first write is HSET, which Redis refuses when it is out of memory.
             May be repeated: the same build again changes nothing.
  Time       O(per_vertex), and O(max_builds) when the flow has so many.
]]
-- @include builds
local ids, builds, transactions, jobs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local vertex, owner, job, body = ARGV[1], ARGV[3], ARGV[9], ARGV[10]
local time, per_vertex = tonumber(ARGV[4]), tonumber(ARGV[8])

local present = redis.call('HGET', ids, 'owner')
local latest = redis.call('HGET', builds, 't' .. vertex)
local latest_job = redis.call('HGET', jobs, 'j' .. vertex)
local list = read_builds(redis.call('HGET', jobs, 'l' .. vertex))
if owner ~= '' and present and present ~= owner then
  return { 'OWNER' }
end
local new = redis.call('EXISTS', ids, builds, transactions) == 0
if ARGV[2] == '' and (new or (owner ~= '' and not present)) then
  return { 'UNREGISTERED' }
end
local now = redis.call('TIME')
if time > now[1] * 1000000 + now[2] + tonumber(ARGV[5]) then
  return { 'AHEAD' }
end

local older = latest and tonumber(latest) > time
local moved -- what is, or becomes, a build before the latest one
if older and job ~= '' and job ~= latest_job then
  moved = { us = ARGV[4], job = job, body = body }
elseif not older and latest_job and latest_job ~= job then
  moved = { us = latest, job = latest_job, body = redis.call('HGET', builds, 'b' .. vertex) }
end
if older and not moved then
  return { 'OLDER' }
end
local kept, dropped = {}, {}
for _, build in ipairs(list) do
  if moved and build.job == moved.job then
    if tonumber(build.us) > tonumber(moved.us) then
      moved = nil -- the job has built the vertex again since
      kept[#kept + 1] = build
    end
  elseif not older and build.job == job then
    dropped[#dropped + 1] = build_field(job, vertex)
  else
    kept[#kept + 1] = build
  end
end
if moved then
  kept[#kept + 1] = moved
  table.sort(kept, function(a, b)
    return tonumber(a.us) > tonumber(b.us)
  end)
end
while #kept > 0 and #kept > per_vertex - 1 do
  local last = table.remove(kept)
  if last == moved then
    moved = nil
  else
    dropped[#dropped + 1] = build_field(last.job, vertex)
  end
end

if not older then
  redis.call('HSET', builds, 't' .. vertex, ARGV[4], 'b' .. vertex, body)
  redis.call('HSET', jobs, 'u', ARGV[4], 'j' .. vertex, job)
end
if moved then
  redis.call('HSET', jobs, build_field(moved.job, vertex), moved.body)
end
for _, field in ipairs(dropped) do
  redis.call('HDEL', jobs, field)
end
if not older and job == '' then
  redis.call('HDEL', jobs, 'j' .. vertex)
end
write_builds(jobs, vertex, kept)
local before = tonumber(redis.call('HGET', jobs, 'n') or 0) + #kept - #list
if owner ~= '' and not present then
  redis.call('HSET', ids, 'owner', owner)
end

-- The oldest go: of those before the latest ones first, then whole vertices.
local vertices = redis.call('HLEN', builds) / 2
if before + vertices > tonumber(ARGV[7]) and before > 0 then
  local oldest
  for _, field in ipairs(redis.call('HKEYS', jobs)) do
    if string.sub(field, 1, 1) == 'l' then
      local found = read_builds(redis.call('HGET', jobs, field))
      local us = tonumber(found[#found].us)
      if not oldest or us < oldest.us then
        oldest = { us = us, vertex = string.sub(field, 2), list = found }
      end
    end
  end
  local last = table.remove(oldest.list)
  redis.call('HDEL', jobs, build_field(last.job, oldest.vertex))
  write_builds(jobs, oldest.vertex, oldest.list)
  before = before - 1
elseif not latest and vertices > math.min(tonumber(ARGV[6]), tonumber(ARGV[7])) then
  local oldest, oldest_time
  for _, field in ipairs(redis.call('HKEYS', builds)) do
    if string.sub(field, 1, 1) == 't' then
      local at = tonumber(redis.call('HGET', builds, field))
      if not oldest or at < oldest_time then
        oldest, oldest_time = string.sub(field, 2), at
      end
    end
  end
  local found = read_builds(redis.call('HGET', jobs, 'l' .. oldest))
  for _, build in ipairs(found) do
    redis.call('HDEL', jobs, build_field(build.job, oldest))
  end
  redis.call('HDEL', builds, 't' .. oldest, 'b' .. oldest)
  redis.call('HDEL', jobs, 'j' .. oldest, 'l' .. oldest)
  before = before - #found
end
redis.call('HSET', jobs, 'n', before)
if older then
  return { 'OLDER' }
end
return { 'STORED' }
