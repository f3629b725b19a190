-- Grants a free name for a plain exclusive section: most requests end here. It stands before
-- everything else that is needed to enter, so that it costs no more than it must.
--
-- KEYS  the lock, its queue, its waiters, the last token, the refusal of the owner
-- ARGV  owner, process, mode, ttl in ms, rest in us, policy, caller, question, wait in us, info,
--       whether the name may be handed to it later (1 or 0), the moment of this question by the
--       clock of who asks, the place in the queue that it had, or 0

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('MGET', KEYS[1], KEYS[4], KEYS[5])
if not kept[1] and not kept[3] and ARGV[3] == 'x' and ARGV[5] == '0' and ARGV[6] ~= 'a' then
  local token = math.max(now, (kept[2] or 0) + 1)
  -- The token first: one that is never used does no harm.
  redis.call('SET', KEYS[4], string.format('%d', token))
  redis.call('SET', KEYS[1], string.format('S%s@%s %d %d %d %s 0 %s', ARGV[1], ARGV[2],
    token, now, now + ARGV[4] * 1000, ARGV[4], ARGV[10]), 'PX', ARGV[4] + 1)
  return token
end
