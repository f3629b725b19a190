-- The queue of a lock: a sorted set of owners by when they came, and a hash with what each of
-- them asked for and, under `s` and the owner, when it last showed itself: by the server's clock,
-- and by its own, which means nothing here and is told back to it.

-- A waiter that has been silent for so long is gone.
local GONE_AFTER = 60000000
-- A longer queue only hides that nobody is served.
local MOST_WAITING = 65536

local function waits_for_permits(mode)
  return string.sub(mode, 1, 1) == 'p'
end

-- Takes a waiter out of the queue. Whether it was there.
local function leave(lock, owner)
  if not lock.queue_until then
    return false
  end
  if lock.permits then
    local details = redis.call('HGET', lock.waiters, owner)
    if details and waits_for_permits(cmsgpack.unpack(details).mode) then
      lock.permits.waiting = lock.permits.waiting - 1
      if lock.permits.waiting == 0 then
        lock.permits = nil
      end
    end
  end
  local was_there = redis.call('ZREM', lock.queue, owner) == 1
  redis.call('HDEL', lock.waiters, owner, 's' .. owner)
  if redis.call('EXISTS', lock.queue) == 0 then
    redis.call('DEL', lock.waiters)
    lock.queue_until = nil
    lock.permits = nil
  end
  lock.changed = true
  return was_there
end

-- The queue stays for a while; it is not touched at every step.
local function keep_queue(lock)
  local till = lock.queue_until or 0
  if till - lock.now < GONE_AFTER or till - lock.now > 3 * GONE_AFTER then
    lock.queue_until = lock.now + 2 * GONE_AFTER
    lock.changed = true
    redis.call('PEXPIRE', lock.queue, ms(2 * GONE_AFTER))
    redis.call('PEXPIRE', lock.waiters, ms(2 * GONE_AFTER))
  end
end

local function shown(lock, asked)
  return string.format('%d %s', lock.now, asked)
end

-- Who had a place before keeps it: it was handed the name, and did not hear of that in time, or the
-- queue was lost.
local function join(lock, owner, waiter, asked, place)
  if place == 0 or place > lock.now then
    local last = redis.call('ZRANGE', lock.queue, 0, 0, 'REV', 'WITHSCORES')
    place = math.max(lock.now, (last[2] or 0) + 1)
  end
  waiter.place = place
  redis.call('ZADD', lock.queue, string.format('%d', place), owner)
  redis.call('HSET', lock.waiters, owner, cmsgpack.pack(waiter), 's' .. owner, shown(lock, asked))
  if waits_for_permits(waiter.mode) then
    lock.permits = lock.permits or { waiting = 0 }
    lock.permits.number = tonumber(string.sub(waiter.mode, 2))
    lock.permits.waiting = lock.permits.waiting + 1
  end
  lock.queue_until = lock.queue_until or 0
  keep_queue(lock)
  lock.changed = true
  return place
end

local function show(lock, owner, asked)
  redis.call('HSET', lock.waiters, 's' .. owner, shown(lock, asked))
  keep_queue(lock)
end

-- Goes through the queue from its front, until a visit says that it is enough. Those who are
-- gone are taken out on the way.
local function each_waiter(lock, visit)
  local from = 0
  while lock.queue_until do
    local owners = redis.call('ZRANGE', lock.queue, from, from + 15)
    if #owners == 0 then
      return
    end
    local fields = {}
    for _, owner in ipairs(owners) do
      fields[#fields + 1] = owner
      fields[#fields + 1] = 's' .. owner
    end
    local found = redis.call('HMGET', lock.waiters, unpack(fields))
    for index, owner in ipairs(owners) do
      local details = found[2 * index - 1]
      local shown_at, asked = string.match(found[2 * index] or '', '^(%-?%d+) (%d+)$')
      local silent_for = lock.now - (shown_at or 0)
      local waiter = details and cmsgpack.unpack(details)
      local is_over = waiter and waiter.deadline and waiter.deadline + SILENT_AFTER < lock.now
      -- One that was seen in the future was seen before the server's clock was put back.
      if not waiter or is_over or math.abs(silent_for) > GONE_AFTER then
        leave(lock, owner)
      else
        waiter.owner, waiter.asked = owner, asked
        waiter.is_live = math.abs(silent_for) <= SILENT_AFTER
        local is_enough = visit(waiter)
        if not waiter.has_left then
          from = from + 1
        end
        if is_enough then
          return
        end
      end
    end
  end
end

-- For what number of permits others wait who are alive; this number when none do.
local function number_waited_for(lock, owner, number)
  if not lock.permits or lock.permits.number == number then
    return number
  end
  local found = number
  each_waiter(lock, function(waiter)
    if waiter.is_live and waiter.owner ~= owner and waits_for_permits(waiter.mode) then
      found = tonumber(string.sub(waiter.mode, 2))
    end
    return found ~= number
  end)
  return found
end

-- Whether nobody who came before, may enter and is alive is passed over by this owner.
local function is_its_turn(lock, owner, mode)
  if not lock.queue_until or redis.call('ZRANGE', lock.queue, 0, 0)[1] == owner then
    return true
  end
  local beside, is_free = 0, true
  each_waiter(lock, function(waiter)
    if waiter.owner == owner then
      return true
    end
    if waiter.is_live and standing(lock, waiter.policy, waiter.caller) == 'enter' then
      -- Those who fit beside it are served with it.
      is_free = mode ~= 'x' and waiter.mode == mode
      beside = beside + 1
    end
    return not is_free
  end)
  return is_free and fits(lock, mode, beside)
end

-- All whose turn it is who have shown themselves.
local function those_whose_turn_it_is(lock)
  local turn, mode, beside = {}, nil, 0
  each_waiter(lock, function(waiter)
    if waiter.is_live and standing(lock, waiter.policy, waiter.caller) == 'enter' then
      mode = mode or waiter.mode
      if waiter.mode ~= mode or not fits(lock, mode, beside) then
        return true
      end
      turn[waiter.owner] = true
      beside = beside + 1
      return mode == 'x'
    end
  end)
  return turn
end

-- Hands the name to a waiter that wants that, and can enter: it need not ask once more. It is kept
-- for a moment only, until its process shows that it has heard of it. Whether it was there to hear.
--
-- All of them have to be renewed within that moment, so that not too many are served this way.
local function hand(lock, waiter)
  if not lock.tokens or not waiter.is_handed_to then
    return false
  end
  local token
  if waiter.mode == 'x' then
    token = math.max(lock.now, (redis.call('GET', lock.tokens) or 0) + 1)
    redis.call('SET', lock.tokens, string.format('%d', token))
  end
  local more = string.format(' %d %s', token or 0, waiter.asked)
  if not tell(waiter.process, 'h', waiter.owner, more) then
    return false
  end
  leave(lock, waiter.owner)
  waiter.has_left = true
  lock.sections[#lock.sections + 1] = {
    owner = waiter.owner, process = waiter.process, mode = waiter.mode, token = token,
    since = lock.now, ends = lock.now + HANDED_FOR, ttl = HANDED_FOR / 1000, rest = 0,
    info = waiter.info,
  }
  return true
end

-- Serves those who may enter now, first come, first served: the name is handed to them, or they
-- are woken to ask for it. After a change of the assignment also wakes those who may not enter any
-- more.
local function wake(lock, and_the_refused)
  local handed, woken, mode, is_enough = 0, 0, nil, false
  each_waiter(lock, function(waiter)
    local stands = standing(lock, waiter.policy, waiter.caller)
    if stands == 'refused' and and_the_refused then
      tell(waiter.process, 'w', waiter.owner)
    elseif stands == 'enter' and waiter.is_live and not is_enough then
      if (not mode or mode == waiter.mode) and fits(lock, waiter.mode, woken) then
        if handed < MOST_HANDED and hand(lock, waiter) then
          handed, mode = handed + 1, waiter.mode
          is_enough = mode == 'x'
        elseif tell(waiter.process, 'w', waiter.owner) then
          woken, mode = woken + 1, waiter.mode
          is_enough = mode == 'x'
        else
          -- Its process is gone, or is connecting again and will ask by itself.
          local long_ago = string.format('%d %s', lock.now - 2 * SILENT_AFTER, waiter.asked)
          redis.call('HSET', lock.waiters, 's' .. waiter.owner, long_ago)
        end
      else
        is_enough = true
      end
    end
    return is_enough and not and_the_refused
  end)
end
