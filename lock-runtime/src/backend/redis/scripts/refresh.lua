-- Shows that waiters are alive. Each is answered with the milliseconds until something ends by
-- itself (-1 for never), or with -2: then it has reason to ask for itself.
--
-- KEYS  the lock, its queue, its waiters, for each of them
-- ARGV  owner, mode, policy, caller, the moment of this question by the clock of who asks, for each
--       of them

local now = server_time()
local locks, answers = {}, {}

-- All of them first: after an interruption none has shown itself for long, and whoever is asked
-- for first here must not pass over the others.
for index = 1, #KEYS / 3 do
  local key = KEYS[3 * index - 2]
  local lock = locks[key]
  if not lock then
    lock = lock_at(key, now, redis.call('GET', key))
    lock.queue, lock.waiters = KEYS[3 * index - 1], KEYS[3 * index]
    locks[key] = lock
  end
  local owner = ARGV[5 * index - 4]
  if lock.queue_until and redis.call('ZRANK', lock.queue, owner) then
    show(lock, owner, ARGV[5 * index])
    answers[index] = next_end(lock)
  else
    answers[index] = -2
  end
end

for index = 1, #KEYS / 3 do
  local lock, owner, mode = locks[KEYS[3 * index - 2]], ARGV[5 * index - 4], ARGV[5 * index - 3]
  local stands = standing(lock, ARGV[5 * index - 2], ARGV[5 * index - 1])
  local may_enter = false
  if stands == 'enter' and fits(lock, mode, 0) then
    -- Once for all who ask: those in front who are silent may be many.
    lock.next = lock.next or those_whose_turn_it_is(lock)
    may_enter = lock.next[owner]
  end
  if may_enter or stands == 'refused' or section_of(lock, owner) then
    answers[index] = -2
  end
end

for _, lock in pairs(locks) do
  if lock.changed then
    save(lock)
  end
end
return answers
