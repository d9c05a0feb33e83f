-- A session's record: "numbers|lateness|generation" (lua/README.md). One of a later format has further parts.
local function refuse_newer(record)
  if string.find(record, '|.*|.*|') then
    error('NEWER_FORMAT')
  end
end

local function parse_record(record)
  refuse_newer(record)
  local numbers, lateness, generation = string.match(record, '^([%d,]+)|(%d+)|(%d+)$')
  return numbers, tonumber(lateness), tonumber(generation)
end

local function format_record(numbers, lateness, generation)
  return string.format('%s|%.0f|%.0f', numbers, lateness, generation)
end

local function primary(record)
  refuse_newer(record)
  return string.match(record, '^%d+')
end

-- seq = counter * 2^44 + number
local function number_of(entry_id)
  return string.format('%.0f', tonumber(string.match(entry_id, '-(%d+)$')) % 17592186044416)
end
