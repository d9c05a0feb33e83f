-- A merge of long sessions is built in `merge`, a key of its own, in steps that keep nobody waiting; the last one
-- puts it in place. `progress` is what the step before told: "<entries staged>,<last of log>,<last of new_log>";
-- empty at first. What does not fit it any more is begun anew: it expired, it was lost with a primary, or a late
-- message came in between what is staged. One merge at a time has the key; one that was given up frees it in 2 s.
--
-- stage copies entries, interleaved by id, at most 500 and some 2 MB in a step, at most 100 in Lua's memory at a
-- time, and of long ones few.
-- Returns the progress, and whether all entries are staged; or nil and what there is to do. The first write is
-- XADD to `merge`: a refusal (out of memory) has changed nothing.
local function stage(log, new_log, merge, progress)
  local staged, ends = 0, { '', '' }
  if progress ~= '' then
    local count, a, b = string.match(progress, '^(%d+),([%d-]*),([%d-]*)$')
    staged, ends = tonumber(count), { a, b }
  end
  if redis.call('XLEN', merge) ~= staged then
    return nil, staged == 0 and 'BUSY' or 'RESTAGE'
  end
  local sources = {}
  for i, key in ipairs({ log, new_log }) do
    sources[i] = { key = key, from = ends[i] == '' and '-' or '(' .. ends[i], at = 1, page = {}, size = 4 }
  end
  local function head(source)
    if source.at > #source.page and source.from then
      local size = source.size
      source.page = redis.call('XRANGE', source.key, source.from, '+', 'COUNT', size)
      source.at = 1
      source.from = #source.page == size and '(' .. source.page[size][1] or nil
      local last = source.page[#source.page]
      source.size = last and #table.concat(last[2]) > 10000 and 4 or math.min(size * 2, 100)
    end
    local entry = source.page[source.at]
    if entry and not entry.us then
      local us, seq = string.match(entry[1], '^(%d+)-(%d+)$')
      entry.us, entry.seq = tonumber(us), tonumber(seq)
    end
    return entry
  end
  local function is_before(a, b)
    return a.us < b.us or (a.us == b.us and a.seq < b.seq)
  end
  local copied, bytes = 0, 0
  while copied < 500 and bytes < 2000000 do
    local a, b = head(sources[1]), head(sources[2])
    local take = (not a or (b and is_before(b, a))) and 2 or 1
    local entry = take == 1 and a or b
    if not entry then
      break
    end
    if copied == 0 and staged > 0 then
      -- Another merge may have staged as many since: the ids tell them apart.
      local last = redis.call('XREVRANGE', merge, '+', '-', 'COUNT', 1)[1][1]
      local us, seq = string.match(last, '^(%d+)-(%d+)$')
      if last ~= ends[1] and last ~= ends[2] then
        return nil, 'RESTAGE'
      elseif not is_before({ us = tonumber(us), seq = tonumber(seq) }, entry) then
        redis.call('UNLINK', merge)
        return nil, 'RESTAGE'
      end
    end
    redis.call('XADD', merge, entry[1], unpack(entry[2]))
    sources[take].at = sources[take].at + 1
    ends[take] = entry[1]
    copied = copied + 1
    for _, value in ipairs(entry[2]) do
      bytes = bytes + #value
    end
  end
  redis.call('PEXPIRE', merge, 2000)
  local done = not head(sources[1]) and not head(sources[2])
  return string.format('%.0f,%s,%s', staged + copied, ends[1], ends[2]), done
end

-- put_in_place makes `merge`, which has all entries, the new log. The clock of the result is the later one.
local function put_in_place(log, new_log, merge)
  local ttl = math.max(redis.call('PTTL', log), redis.call('PTTL', new_log))
  local endless = redis.call('PTTL', log) < 0 or redis.call('PTTL', new_log) < 0
  local latest = { 0, 0 }
  for _, key in ipairs({ log, new_log }) do
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
  end
  local clock = string.format('%.0f-%.0f', latest[1], latest[2])
  if redis.call('XREVRANGE', merge, '+', '-', 'COUNT', 1)[1][1] ~= clock then
    redis.call('XADD', merge, clock, 'b', '')
    redis.call('XDEL', merge, clock)
  end
  redis.call('UNLINK', log, new_log)
  redis.call('RENAME', merge, new_log)
  if endless then
    redis.call('PERSIST', new_log)
  else
    redis.call('PEXPIRE', new_log, ttl)
  end
end

-- Of two sessions, the fewer changed contents are copied to the more; their fields are different entries.
-- fewer_edits returns their key, and the fields and contents one after the other; nil if those are too long.
local function fewer_edits(edits, new_edits, max_bytes)
  local from = redis.call('HLEN', edits) > redis.call('HLEN', new_edits) and new_edits or edits
  local changed, bytes = {}, 0
  local fields = redis.call('HKEYS', from)
  for first = 1, #fields, 20 do
    local some = { unpack(fields, first, math.min(first + 19, #fields)) }
    local values = redis.call('HMGET', from, unpack(some))
    for i, field in ipairs(some) do
      changed[#changed + 1] = field
      changed[#changed + 1] = values[i]
      bytes = bytes + #values[i]
    end
    if bytes > max_bytes then
      return nil
    end
  end
  return from, changed
end

local function merge_edits(edits, new_edits, new_log, from, changed)
  local to = from == edits and new_edits or edits
  for first = 1, #changed, 200 do
    redis.call('HSET', to, unpack(changed, first, math.min(first + 199, #changed)))
  end
  redis.call('UNLINK', from)
  if to == edits and redis.call('EXISTS', edits) == 1 then
    redis.call('RENAME', edits, new_edits)
  end
  if redis.call('PTTL', new_log) < 0 then
    redis.call('PERSIST', new_edits)
  end
end
