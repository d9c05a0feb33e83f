-- unpack fails at some thousands of values: in_chunks calls a command with at most 1000 at a time.
local function in_chunks(command, key, values)
  for first = 1, #values, 1000 do
    redis.call(command, key, unpack(values, first, math.min(first + 999, #values)))
  end
end
