-- Goes on with the section of one owner under another; the token stays.
--
-- KEYS  the lock, the refusal of the taker
-- ARGV  giver, taker, the taker's process, ttl in ms, info

local giver, taker, process, ttl, info = ARGV[1], ARGV[2], ARGV[3], ARGV[4] * 1, ARGV[5]

local kept = redis.call('MGET', KEYS[1], KEYS[2])
if kept[2] then
  -- It was given up before this question arrived, and would be nobody's.
  return -1
end
local lock = lock_at(KEYS[1], server_time(), kept[1])
-- Asked again because the answer was lost, it is there already.
local section = section_of(lock, taker)
if section then
  lengthen(lock, section, ttl)
else
  section = section_of(lock, giver)
  if not section then
    return -1
  end
  tell(section.process, 'a', giver)
  section.owner, section.process, section.info = taker, process, info
  section.ends, section.ttl, section.renewal = lock.now + ttl * 1000, ttl, nil
end
need_no_room(lock)
save(lock)
return section.token or 0
