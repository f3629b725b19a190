-- Goes on with the section of one owner under another; the token stays.
--
-- KEYS  the lock
-- ARGV  giver, taker, the taker's process, ttl in ms, info

local giver, taker, process, ttl, info = ARGV[1], ARGV[2], ARGV[3], ARGV[4] * 1, ARGV[5]

local lock = lock_at(KEYS[1], server_time(), redis.call('GET', KEYS[1]))
-- Asked again because the answer was lost, it is there already.
local section = section_of(lock, taker)
if not section then
  section = section_of(lock, giver)
  if not section then
    return -1
  end
  tell(section.process, 'a', giver)
end
section.owner, section.process, section.info = taker, process, info
section.ends, section.ttl = lock.now + ttl * 1000, ttl
save(lock)
return section.token or 0
