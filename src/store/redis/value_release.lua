-- Gives back the right to make a value, if it is still the asker's.
-- KEYS: the right. ARGV: who has it.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
