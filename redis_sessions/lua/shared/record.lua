-- A session's record: "numbers|lateness|generation" (lua/README.md).
local function parse_record(record)
  local numbers, lateness, generation = string.match(record, '^([%d,]+)|(%d+)|(%d+)$')
  return numbers, tonumber(lateness), tonumber(generation)
end

local function format_record(numbers, lateness, generation)
  return string.format('%s|%.0f|%.0f', numbers, lateness, generation)
end

local function primary(numbers)
  return string.match(numbers, '^%d+')
end

-- seq = counter * 2^44 + number
local function number_of(entry_id)
  return string.format('%.0f', tonumber(string.match(entry_id, '-(%d+)$')) % 17592186044416)
end
