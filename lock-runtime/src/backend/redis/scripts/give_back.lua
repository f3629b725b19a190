-- Ends a section that nobody else asks for: most sections end here.
--
-- KEYS  the lock, its queue, its waiters, the last token, the refusal of the owner
-- ARGV  owner, whether the body ran (1 or 0), for how long in ms the owner is refused from now on

local kept = redis.call('GET', KEYS[1])
if ARGV[3] == '0' then
  if not kept then
    return 0
  end
  if string.sub(kept, 1, 49) == 'S' .. ARGV[1] then
    redis.call('DEL', KEYS[1])
    return 1
  end
end
