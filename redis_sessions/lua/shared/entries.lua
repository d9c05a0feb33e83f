-- add_entry appends to a log at max(time, the log's clock) and returns the entry's id and µs. The clock
-- is the last-generated-id. XADD is tried with the message's own time first: XINFO copies the log's last
-- entry, so it is asked only when that is refused, and `clock` remembers the answer for the next entry.
local function add_entry(log, clock, number, time, fields)
  local us, counter = time, 0
  for attempt = 1, 2 do
    if clock.us and us <= clock.us then
      us, counter = clock.us, clock.counter + 1
      if counter > 511 then
        us, counter = us + 1, 0
      end
    end
    local id = string.format('%.0f-%.0f', us, counter * 17592186044416 + tonumber(number))
    local entry = fields
    if us > time then
      entry = { 't', string.format('%.0f', time), unpack(fields) }
    end
    local added = redis.pcall('XADD', log, id, unpack(entry))
    if type(added) ~= 'table' then
      clock.us, clock.counter = us, counter
      return id, us
    end
    if clock.us or not string.find(tostring(added.err), 'smaller', 1, true) then
      return nil, added
    end
    local info = redis.call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then
        local last_us, last_seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
        clock.us, clock.counter = tonumber(last_us), math.floor(tonumber(last_seq) / 17592186044416)
      end
    end
  end
end

-- How the feed names an entry: by its id, and by the adopted id of its message, if it has one.
local function label(entry_id, alias)
  if not alias then
    return entry_id
  end
  local hex = string.gsub(alias, '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end)
  return entry_id .. ':' .. hex
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
