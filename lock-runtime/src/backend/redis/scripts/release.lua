-- Ends what an owner has of a name: a section, or a place in its queue. KEYS and ARGV are those
-- of `give_back.lua`, which comes before.

local owner, body_ran, refused_for = ARGV[1], ARGV[2] == '1', ARGV[3] * 1

local lock = lock_at(KEYS[1], server_time(), kept)
lock.queue, lock.waiters, lock.tokens = KEYS[2], KEYS[3], KEYS[4]

need_no_room(lock)
local _, index = section_of(lock, owner)
if index then
  finish(lock, index, body_ran)
end
local was_waiting = leave(lock, owner)
if refused_for > 0 then
  refuse(KEYS[5], refused_for)
end
wake(lock)
save(lock)
-- Whose body ran in a section has nothing of it in a place in the queue.
return (index or (was_waiting and not body_ran)) and 1 or 0
