-- merge_logs puts two logs together under new_log, entries interleaved by id, in steps of 100 so that
-- neither is ever in Lua's memory whole. It builds in `merge`, a key of its own: the first write is XADD
-- there, and a refusal (out of memory) has changed nothing. The clock of the result is the later one.
local function merge_logs(log, new_log, merge)
  local ttl = math.max(redis.call('PTTL', log), redis.call('PTTL', new_log))
  local endless = redis.call('PTTL', log) < 0 or redis.call('PTTL', new_log) < 0
  local latest = { 0, 0 }
  local sources = {}
  for i, key in ipairs({ log, new_log }) do
    local info = redis.call('XINFO', 'STREAM', key)
    for j = 1, #info, 2 do
      if info[j] == 'last-generated-id' then
        local us, seq = string.match(info[j + 1], '^(%d+)-(%d+)$')
        us, seq = tonumber(us), tonumber(seq)
        if us > latest[1] or (us == latest[1] and seq > latest[2]) then
          latest = { us, seq }
        end
      end
    end
    sources[i] = { key = key, from = '-', at = 1, page = {} }
  end
  local function head(source)
    if source.at > #source.page and source.from then
      source.page = redis.call('XRANGE', source.key, source.from, '+', 'COUNT', 100)
      source.at = 1
      source.from = #source.page == 100 and '(' .. source.page[100][1] or nil
    end
    local entry = source.page[source.at]
    if entry and not entry.us then
      local us, seq = string.match(entry[1], '^(%d+)-(%d+)$')
      entry.us, entry.seq = tonumber(us), tonumber(seq)
    end
    return entry
  end
  if redis.call('EXISTS', merge) == 1 then
    redis.call('UNLINK', merge)
  end
  while true do
    local a, b = head(sources[1]), head(sources[2])
    local take = 1
    if not a or (b and (b.us < a.us or (b.us == a.us and b.seq < a.seq))) then
      take = 2
    end
    local entry = take == 1 and a or b
    if not entry then
      break
    end
    redis.call('XADD', merge, entry[1], unpack(entry[2]))
    sources[take].at = sources[take].at + 1
  end
  local clock = string.format('%.0f-%.0f', latest[1], latest[2])
  if redis.call('XREVRANGE', merge, '+', '-', 'COUNT', 1)[1][1] ~= clock then
    redis.call('XADD', merge, clock, 'b', '')
    redis.call('XDEL', merge, clock)
  end
  redis.call('UNLINK', log, new_log)
  redis.call('RENAME', merge, new_log)
  if not endless then
    redis.call('PEXPIRE', new_log, ttl)
  end
end

local function merge_edits(edits, new_edits, new_log)
  local fields = redis.call('HKEYS', edits)
  for first = 1, #fields, 100 do
    local some = { unpack(fields, first, math.min(first + 99, #fields)) }
    local values, pairs = redis.call('HMGET', edits, unpack(some)), {}
    for i, field in ipairs(some) do
      pairs[#pairs + 1] = field
      pairs[#pairs + 1] = values[i]
    end
    redis.call('HSET', new_edits, unpack(pairs))
  end
  redis.call('UNLINK', edits)
  if redis.call('PTTL', new_log) < 0 then
    redis.call('PERSIST', new_edits)
  end
end
