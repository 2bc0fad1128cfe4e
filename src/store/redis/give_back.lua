-- Gives units back to every limit of one subject, as far as time has not done so already.
-- KEYS: one a limit, all with one {tag}.
-- ARGV: units, then for each limit its interval in tenths of a microsecond, 0 for a quota, and the state that
--   the taking had left.
local clock = redis.call('TIME')
local unix = tonumber(clock[1])
local now = (unix - 1577836800) * 10000000 + tonumber(clock[2]) * 10
local units = tonumber(ARGV[1])
for i = 1, #KEYS do
  local interval, state = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local kept = tonumber(redis.call('GET', KEYS[i]) or '0')
  if interval > 0 then
    local owed = math.min(units * interval, state - now)
    if owed > 0 and kept - owed > now then
      local life = math.ceil((kept - owed - now) / 10000) + 1
      redis.call('SET', KEYS[i], string.format('%.0f', kept - owed), 'PX', life)
    elseif owed > 0 then
      redis.call('DEL', KEYS[i])
    end
  elseif unix < state and kept > 0 then
    redis.call('SET', KEYS[i], string.format('%.0f', math.max(0, kept - units)), 'KEEPTTL')
  end
end
return 0
