-- Notes a purge under a number that is larger than any before it, and tells all nodes.
-- KEYS: the purges, the last number. ARGV: seconds that one is kept, how many are, the channel, the purge, the
-- purge of everything, which takes the place of too many. The answer is what is noted.
local time = redis.call('TIME')
local now = tonumber(time[1])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
-- By the clock, so that a store that has forgotten everything goes on; never backwards, whatever the clock does.
local number = string.format('%.0f', math.max(now * 1000000 + tonumber(time[2]), last + 1))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local purge = ARGV[4]
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])
  purge = ARGV[5]
end
local member = number .. ':' .. purge
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), member)
redis.call('SET', KEYS[2], number)
redis.call('PUBLISH', ARGV[3], member)
return member
