--[[
  delete_job_builds: remove the builds of some jobs. Of a vertex whose latest build goes, the one before it is the
  latest again.

  KEYS
    1  ids           hash    FlowKeys.ids
    2  sessions      zset    FlowKeys.sessions
    3  aliases       hash    FlowKeys.aliases
    4  builds        hash    FlowKeys.builds
    5  transactions  stream  FlowKeys.transactions
    6  jobs          hash    FlowKeys.jobs
  ARGV
    1… job_ids       bytes each

  Returns  {status, …}
    DELETED   "1" if the flow is empty now; its owner, if so; how many builds were removed

  Atomicity  one shard, one step. May be repeated.
  Time       O(vertices), and O(builds before their latest ones).
]]
-- @include builds
local ids, sessions, aliases, builds = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local transactions, jobs = KEYS[5], KEYS[6]
local wanted = {}
for i = 1, #ARGV do
  wanted[ARGV[i]] = true
end

local owner = redis.call('HGET', ids, 'owner')
local count, before = 0, 0
local fields = redis.call('HKEYS', builds)
for _, field in ipairs(fields) do
  local vertex = string.sub(field, 2)
  if string.sub(field, 1, 1) == 't' then
    local kept, changed = {}, false
    for _, build in ipairs(read_builds(redis.call('HGET', jobs, 'l' .. vertex))) do
      if wanted[build.job] then
        redis.call('HDEL', jobs, build_field(build.job, vertex))
        count, changed = count + 1, true
      else
        kept[#kept + 1] = build
      end
    end
    local job = redis.call('HGET', jobs, 'j' .. vertex)
    if job and wanted[job] then
      count, changed = count + 1, true
      local latest = table.remove(kept, 1)
      if latest then
        local from = build_field(latest.job, vertex)
        redis.call('HSET', builds, 't' .. vertex, latest.us, 'b' .. vertex, redis.call('HGET', jobs, from))
        redis.call('HSET', jobs, 'j' .. vertex, latest.job)
        redis.call('HDEL', jobs, from)
      else
        redis.call('HDEL', builds, 't' .. vertex, 'b' .. vertex)
        redis.call('HDEL', jobs, 'j' .. vertex)
      end
    end
    if changed then
      write_builds(jobs, vertex, kept)
    end
    before = before + #kept
  end
end

local removed = string.format('%.0f', count)
if count == 0 then
  return { 'DELETED', '', '', removed }
end
if redis.call('EXISTS', builds) == 1 then
  redis.call('HSET', jobs, 'n', before)
  return { 'DELETED', '', '', removed }
end
redis.call('UNLINK', jobs)
if redis.call('EXISTS', sessions, transactions) > 0 then
  return { 'DELETED', '', '', removed }
end
redis.call('UNLINK', ids, aliases)
return { 'DELETED', '1', owner or '', removed }
