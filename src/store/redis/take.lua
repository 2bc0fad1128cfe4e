-- Debits every limit of one subject, or none: rates by GCRA, quotas by calendar windows.
-- KEYS: one a limit, all with one {tag}, so that a cluster keeps them on one node.
-- ARGV: least and most units, then for each limit
--   0, interval in tenths of a microsecond, burst             (a rate)
--   1, units, back, end of its window, three ends of windows  (a quota; ends in seconds since 1970)
-- Gives: units granted (0 when refused), microseconds to wait, then for each limit
--   units left, microseconds until it is full, and its state: when it is full, or the end of its window.
local clock = redis.call('TIME') -- The server's clock, never that of a node.
local unix = tonumber(clock[1])
-- Tenths of microseconds since 2020: whole numbers that a double holds exactly until 2048.
local now = (unix - 1577836800) * 10000000 + tonumber(clock[2]) * 10
local least, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local at = 2
local function argument()
  at = at + 1
  return tonumber(ARGV[at])
end

local limits, granted, wait = {}, most, 0
for i = 1, #KEYS do
  local is_quota = argument() == 1
  local kept = tonumber(redis.call('GET', KEYS[i]) or '0')
  local limit
  if is_quota then
    local units, back, back_end = argument(), argument(), argument()
    local first, second, third = argument(), argument(), argument()
    local stop = (unix < first and first) or (unix < second and second) or third
    -- Units that the node was charged for in this window and has not spent.
    if back_end == stop then kept = math.max(0, kept - back) end
    local full = math.max(0, (stop - 1577836800) * 10000000 - now)
    limit = { used = kept, state = stop, room = units - kept, wait = full, full = full }
  else
    local interval, burst = argument(), argument()
    local full = math.max(0, kept - now)
    local room = math.floor((interval * burst - full) / interval)
    limit = { interval = interval, full = full, room = room, wait = full + (least - burst) * interval }
  end
  limits[i] = limit
  if limit.room < least then
    wait = math.max(wait, limit.wait, 1)
  elseif limit.room < granted then
    granted = limit.room
  end
end

if wait > 0 then granted = 0 end
local reply = { granted, math.ceil(wait / 10) }
for i, limit in ipairs(limits) do
  if limit.interval then
    limit.full = limit.full + granted * limit.interval
    limit.state = now + limit.full
  end
  if granted > 0 then
    -- A key lives until it says no more than none at all: nothing leaks, nothing is refilled early.
    local value = limit.interval and limit.state or limit.used + granted
    redis.call('SET', KEYS[i], string.format('%.0f', value), 'PX', math.ceil(limit.full / 10000) + 1)
  end
  reply[#reply + 1] = math.max(0, limit.room - granted)
  reply[#reply + 1] = math.ceil(limit.full / 10)
  reply[#reply + 1] = limit.state
end
return reply
