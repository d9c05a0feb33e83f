-- find_oldest lists the `most` oldest entries of a log as {entry id, adopted id}, or some 2 MB of them: their bodies
-- are copied to get at their ids. nil: an entry of a number of the session's has an adopted id, and its set is not
-- in `adopted_of`.
local function find_oldest(log, most, numbers, adopted_of)
  local found, bytes, from = {}, 0, '-'
  while #found < most and bytes < 2000000 do
    local page = redis.call('XRANGE', log, from, '+', 'COUNT', math.min(most - #found, 8))
    for _, entry in ipairs(page) do
      local alias = field_of(entry, 'i')
      if alias and not adopted_of[number_of(entry[1])] then
        if string.find(',' .. numbers .. ',', ',' .. number_of(entry[1]) .. ',', 1, true) then
          return nil
        end
        alias = nil -- not an entry of ours
      end
      if bytes < 2000000 then
        found[#found + 1] = { entry[1], alias }
      end
      for _, value in ipairs(entry[2]) do
        bytes = bytes + #value
      end
    end
    if #page == 0 then
      break
    end
    from = '(' .. page[#page][1]
  end
  return found
end
