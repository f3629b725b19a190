-- What is known of a lock, for people to read.
--
-- KEYS  the lock, its queue, its waiters
-- ARGV  how many of those who wait are named

local kept = redis.call('GET', KEYS[1])
if not kept then
  return false
end
local lock = lock_at(KEYS[1], server_time(), kept)
lock.queue, lock.waiters = KEYS[2], KEYS[3]

local sections, resting, queue = {}, -1, {}
for _, section in ipairs(lock.sections) do
  if section.resting then
    resting = math.max(resting, ms(section.ends - lock.now))
  else
    sections[#sections + 1] = describe(lock, section)
  end
end
local assignment = lock.assignment
local held = false
if assignment then
  held = { assignment.holder, ms(assignment.since), assignment.ends and ms(assignment.ends) or -1 }
end
local waiting, most = 0, ARGV[1] * 1
each_waiter(lock, function(waiter)
  waiting = waiting + 1
  if waiting <= most then
    queue[waiting] = { waiter.info, waiter.mode, ms(lock.now - waiter.since) }
  end
  -- Of a long queue, the rest is counted without looking at each.
  return waiting >= 1024
end)
if waiting >= 1024 then
  waiting = redis.call('ZCARD', lock.queue)
end
if lock.changed then
  save(lock)
end
return { held, sections, resting, waiting, queue }
