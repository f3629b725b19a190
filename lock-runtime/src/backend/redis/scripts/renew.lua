-- Starts leases anew. Each that is not held any more is answered with 0.
--
-- KEYS  the locks
-- ARGV  owner and ttl in ms, for each of them; 0 only asks whether it is held

local now = server_time()
local renewed = {}
for index, key in ipairs(KEYS) do
  local owner, ttl = ARGV[2 * index - 1], ARGV[2 * index] * 1
  local lock = lock_at(key, now, redis.call('GET', key))
  local section = section_of(lock, owner)
  if section and ttl > 0 then
    section.ends, section.ttl = now + ttl * 1000, ttl
    save(lock)
  end
  renewed[index] = section and 1 or 0
end
return renewed
