-- add_entry appends to a log at max(time, the log's clock); returns the entry's id and µs. The clock is the
-- last-generated-id. XADD is tried with the message's own time first: XINFO copies the log's last entry, so
-- it is asked only when that is refused, and `clock` remembers the answer for the next entry.
local function add_entry(log, clock, number, time_text, ...)
  local time = tonumber(time_text)
  if not clock.us then
    local id = time_text .. '-' .. number
    local added = redis.pcall('XADD', log, id, ...)
    if type(added) ~= 'table' then
      clock.us, clock.counter = time, 0
      return id, time
    elseif not string.find(tostring(added.err), 'smaller', 1, true) then
      redis.call('XADD', log, id, ...) -- fails again, in the words that Redis has for it
      return id, time
    end
    local info = redis.call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then
        local us, seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
        clock.us, clock.counter = tonumber(us), math.floor(tonumber(seq) / 17592186044416)
      end
    end
  end
  local us, counter = time, 0
  if us <= clock.us then
    us, counter = clock.us, clock.counter + 1
    if counter > 511 then
      us, counter = us + 1, 0
    end
  end
  clock.us, clock.counter = us, counter
  local id = string.format('%.0f-%.0f', us, counter * 17592186044416 + number)
  if us > time then
    redis.call('XADD', log, id, 't', time_text, ...)
  else
    redis.call('XADD', log, id, ...)
  end
  return id, us
end

-- How the feed names an entry: by its id, and by the adopted id of its message, if it has one.
local function label(entry_id, alias)
  if not alias then
    return entry_id
  end
  local bytes = { string.byte(alias, 1, 16) }
  return entry_id .. ':' .. string.format(string.rep('%02x', #bytes), unpack(bytes))
end

local function field_of(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then
      return fields[i + 1]
    end
  end
  return nil
end

-- The entry ids of labels, comma separated.
local function without_aliases(labels)
  local ids = string.gsub(labels, ':%x+', '')
  return ids
end
