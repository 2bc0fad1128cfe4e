-- A value takes the place of the one before it; whoever made it gives the right back.
-- KEYS: the value, the right. ARGV: who has the right, ms that the value lives, the value.
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
