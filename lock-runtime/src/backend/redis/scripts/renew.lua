-- Starts leases anew. Each that is not held any more is answered with 0.
--
-- KEYS  the locks
-- ARGV  owner, ttl in ms, and the number of the renewal, for each of them; a ttl of 0 only asks
--       whether it is held

local now = server_time()
local locks, renewed = {}, {}
for index, key in ipairs(KEYS) do
  local owner, ttl, renewal = ARGV[3 * index - 2], ARGV[3 * index - 1] * 1, ARGV[3 * index] * 1
  local lock = locks[key] or lock_at(key, now, redis.call('GET', key))
  locks[key] = lock
  local section = section_of(lock, owner)
  -- One that was overtaken by the next has nobody who counts with it.
  if section and ttl > 0 and renewal >= (section.renewal or 0) then
    section.ends, section.ttl, section.renewal = now + ttl * 1000, ttl, renewal
    lock.is_renewed = true
  end
  renewed[index] = section and 1 or 0
end
for _, lock in pairs(locks) do
  if lock.is_renewed then
    need_no_room(lock)
    save(lock)
  end
end
return renewed
