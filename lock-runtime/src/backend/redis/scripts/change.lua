-- Changes to whom a lock is assigned.
--
-- KEYS  the lock, its queue, its waiters, the mark of this change
-- ARGV  what (assign, transfer, unassign), to whom, ttl in ms or -1, on whose word (caller, holder,
--       operator), that caller, the owner of the section that it is made from or nothing, for how
--       long in ms the mark stays

local what, to, ttl, word, giver, within = ARGV[1], ARGV[2], ARGV[3] * 1, ARGV[4], ARGV[5], ARGV[6]

-- Asked again because the answer was lost, it is the same change.
if redis.call('EXISTS', KEYS[4]) == 1 then
  return { 'done' }
end

local lock = lock_at(KEYS[1], server_time(), redis.call('GET', KEYS[1]))
lock.queue, lock.waiters = KEYS[2], KEYS[3]
local assignment = lock.assignment
local holder = assignment and assignment.holder

if within ~= '' and not section_of(lock, within) then
  return { 'lost' }
end

local is_allowed = word == 'operator' or (word == 'caller' and not holder) or giver == holder
if what == 'assign' then
  -- Again to the same caller is fine, and starts its time anew.
  is_allowed = word == 'operator' or not holder or holder == to
elseif what == 'unassign' then
  is_allowed = is_allowed or not holder
end
if not is_allowed then
  return not_your_turn(lock)
end

if what == 'unassign' then
  lock.assignment = nil
else
  local since = lock.now
  if what == 'assign' then
    since = holder == to and assignment.since or since
    ttl = ttl >= 0 and ttl or nil
  else
    -- A turn that had a time keeps having one.
    ttl = assignment and assignment.ttl
  end
  lock.assignment = { holder = to, since = since, ttl = ttl, ends = ttl and lock.now + ttl * 1000 }
end
if what ~= 'assign' then
  need_no_room(lock)
end
redis.call('SET', KEYS[4], '', 'PX', ARGV[7])
wake(lock, true)
save(lock)
return { 'done' }
