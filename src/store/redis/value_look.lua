-- A value, or the right to make it, which one asker has at a time.
-- KEYS: the value, the right. ARGV: who asks, ms that the right holds, bytes of the longest value, and how the value
-- begins that will not do, behind one byte more: another one may have taken its place meanwhile.
if redis.call('STRLEN', KEYS[1]) <= tonumber(ARGV[3]) then
  local value = redis.call('GET', KEYS[1])
  if value and (ARGV[4] == '' or string.sub(value, 1, 32) ~= string.sub(ARGV[4], 2)) then
    return {1, redis.call('PTTL', KEYS[1]), value}
  end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {2, 0, ''} end
return {3, 0, ''}
