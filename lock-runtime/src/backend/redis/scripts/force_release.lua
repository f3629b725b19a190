-- Ends every section of a name, and its rest, whoever the owners are. Says how many ended.
--
-- KEYS  the lock, its queue, its waiters
-- ARGV  the refusal of an owner, without that owner; for how long in ms they are refused from now on

local kept = redis.call('GET', KEYS[1])
if not kept then
  return 0
end
local lock = lock_at(KEYS[1], server_time(), kept)
lock.queue, lock.waiters = KEYS[2], KEYS[3]
need_no_room(lock)
local ended = 0
for _, section in ipairs(lock.sections) do
  if not section.resting then
    ended = ended + 1
    tell(section.process, 'f', section.owner)
    -- Who is forced out cannot come back, not even with a question that is late.
    refuse(ARGV[1] .. section.owner, ARGV[2])
  end
end
lock.sections = {}
wake(lock)
save(lock)
return ended
