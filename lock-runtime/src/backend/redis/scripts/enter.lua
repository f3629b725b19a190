-- Grants a section, or gives a place in the queue, or refreshes it: the same question may be
-- asked again and again. KEYS and ARGV are those of `take.lua`, which comes before.

local owner, process, mode, ttl, rest = ARGV[1], ARGV[2], ARGV[3], ARGV[4] * 1, ARGV[5] * 1
local policy, caller, question, wait, info = ARGV[6], ARGV[7], ARGV[8], ARGV[9] * 1, ARGV[10]

local lock = lock_at(KEYS[1], now, kept[1])
lock.queue, lock.waiters = KEYS[2], KEYS[3]

if kept[3] then
  return { 'dead' }
end

local mine = section_of(lock, owner)
if mine then
  -- The answer was lost. The owner counts its lease from this question.
  lengthen(lock, mine, ttl)
  need_no_room(lock)
  leave(lock, owner)
  save(lock)
  return { 'granted', mine.token or 0 }
end

local function answer(reply)
  if lock.changed then
    save(lock)
  end
  return reply
end

-- Takes the request back: somebody may have stood behind it alone.
local function withdraw()
  if leave(lock, owner) then
    wake(lock)
  end
end

local stands = standing(lock, policy, caller)
if stands == 'refused' then
  withdraw()
  return answer(not_your_turn(lock))
end

if waits_for_permits(mode) then
  local number = tonumber(string.sub(mode, 2))
  local in_use
  for _, section in ipairs(lock.sections) do
    in_use = waits_for_permits(section.mode) and tonumber(string.sub(section.mode, 2)) or in_use
  end
  in_use = in_use or number_waited_for(lock, owner, number)
  if in_use ~= number then
    withdraw()
    return answer({ 'conflict', in_use })
  end
end

if stands == 'enter' and fits(lock, mode, 0) and is_its_turn(lock, owner, mode) then
  leave(lock, owner)
  local token
  if mode == 'x' then
    token = math.max(now, (kept[2] or 0) + 1)
    redis.call('SET', KEYS[4], string.format('%d', token))
  end
  lock.sections[#lock.sections + 1] = {
    owner = owner, process = process, mode = mode, token = token, since = now,
    ends = now + ttl * 1000, ttl = ttl, rest = rest, info = info,
  }
  save(lock)
  return { 'granted', token or 0 }
end

local ahead = 0
if lock.queue_until then
  local rank = redis.call('ZRANK', lock.queue, owner)
  if question == 'q' and rank then
    show(lock, owner, ARGV[12])
    local place = cmsgpack.unpack(redis.call('HGET', lock.waiters, owner)).place
    return answer({ 'queued', next_end(lock), place })
  end
  ahead = rank or redis.call('ZCARD', lock.queue)
end

if question == 'q' then
  if ahead >= MOST_WAITING then
    return answer({ 'full', ahead })
  end
  local place = join(lock, owner, {
    process = process, mode = mode, policy = policy, caller = caller, info = info, since = now,
    deadline = wait >= 0 and now + wait or nil, is_handed_to = ARGV[11] == '1',
  }, ARGV[12], ARGV[13] * 1)
  return answer({ 'queued', next_end(lock), place })
end

withdraw()
local running, resting
for _, section in ipairs(lock.sections) do
  if section.resting then
    resting = resting or section
  else
    running = running or section
  end
end
local why = { 'queue' }
if running then
  why = { 'section', describe(lock, running) }
elseif resting then
  why = { 'resting', ms(resting.ends - now) }
elseif lock.assignment then
  why = { 'assigned', lock.assignment.holder }
end
return answer({ 'busy', next_end(lock), ahead, why })
