-- The builds that a vertex had before its latest one. `l<vertex>` lists them, newest first, as
-- "<µs> <length of the job id> <job id>" one after the other; a job has one build of a vertex, its latest, in the
-- field that build_field names.
local function build_field(job, vertex)
  return 'b' .. #job .. ':' .. job .. vertex
end

local function read_builds(text)
  local list, at = {}, 1
  while text and at <= #text do
    local _, stop, us, length = string.find(text, '^(%d+) (%d+) ', at)
    at = stop + 1 + tonumber(length)
    list[#list + 1] = { us = us, job = string.sub(text, stop + 1, at - 1) }
  end
  return list
end

local function write_builds(jobs, vertex, list)
  local parts = {}
  for i, build in ipairs(list) do
    parts[i] = build.us .. ' ' .. #build.job .. ' ' .. build.job
  end
  if #parts > 0 then
    redis.call('HSET', jobs, 'l' .. vertex, table.concat(parts))
  else
    redis.call('HDEL', jobs, 'l' .. vertex)
  end
end
