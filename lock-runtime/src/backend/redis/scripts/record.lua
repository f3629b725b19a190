-- What is known of one lock, and how it is kept. All times are the server's, in microseconds,
-- but for leases (`ttl`) and what goes to clients, which are in milliseconds.
--
-- A name of which nothing is known has no key. A name with one plain exclusive section, and
-- nothing else, is a text that begins with `S`, so that it can be written and compared without
-- reading it. Everything else is `R` and a packed table of
--
--   sections     owner, process, mode, token, since, ends, ttl, renewal, rest, info, resting;
--                `renewal` is the number of the last one
--   assignment   holder, since, ends, ttl; `ends` and `ttl` are left out when it has no end
--   queue_until  when the queue is thrown away unless somebody shows itself; none without a queue
--   permits      number, waiting: how many wait for permits, and for what number the last one does
--
-- The expiry of a key only clears away what is over. What decides is the time in the record.
--
-- An owner that is refused from now on has a key of its own, which ends by itself.

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Whole milliseconds, rounded up.
local function ms(us)
  return math.max(0, math.ceil(us / 1000))
end

local function text_of(section)
  return string.format('S%s@%s %d %d %d %d %d %s', section.owner, section.process,
    section.token, section.since, section.ends, section.ttl, section.renewal or 0, section.info)
end

local function section_of_text(text)
  local owner, process, token, since, ends, ttl, renewal, info =
    string.match(text, '^S(%x+)@(%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  return {
    owner = owner, process = process, mode = 'x', token = tonumber(token),
    since = tonumber(since), ends = tonumber(ends), ttl = tonumber(ttl),
    renewal = tonumber(renewal), rest = 0, info = info,
  }
end

-- Takes out what has ended by now.
local function settle(lock)
  local now = lock.now
  local running = {}
  for _, section in ipairs(lock.sections) do
    -- More than it was ever given: the server's clock was put back.
    local longest = section.resting and section.rest or section.ttl * 1000
    if section.ends - now > longest then
      section.ends = now + longest
      lock.changed = true
    end
    if section.ends <= now and not section.resting and section.since + section.rest > now then
      section.resting = true
      section.ends = math.min(section.since, now) + section.rest
    end
    if section.ends > now then
      running[#running + 1] = section
    end
  end
  lock.sections = running
  local assignment = lock.assignment
  if assignment and assignment.ends then
    if assignment.ends - now > assignment.ttl * 1000 then
      assignment.ends = now + assignment.ttl * 1000
      lock.changed = true
    end
    if assignment.ends <= now then
      lock.assignment = nil
    end
  end
  if lock.queue_until and lock.queue_until <= now then
    lock.queue_until, lock.permits = nil, nil
  end
end

-- The lock that is kept under a key, as it is at this moment.
local function lock_at(key, now, kept)
  local lock = {}
  if kept and string.sub(kept, 1, 1) == 'S' then
    lock.sections = { section_of_text(kept) }
  elseif kept then
    lock = cmsgpack.unpack(string.sub(kept, 2))
  end
  lock.key = key
  lock.now = now
  lock.sections = lock.sections or {}
  settle(lock)
  return lock
end

local function is_plain(lock)
  local only = lock.sections[1]
  return #lock.sections == 1 and only.mode == 'x' and only.rest == 0
    and not lock.assignment and not lock.queue_until
end

-- Keeps the lock for as long as anything in it may matter; not at all when nothing is left.
local function save(lock)
  local till = lock.queue_until or 0
  for _, section in ipairs(lock.sections) do
    till = math.max(till, section.ends, section.since + section.rest)
  end
  local assignment = lock.assignment
  if assignment and assignment.ends then
    till = math.max(till, assignment.ends)
  end
  if till == 0 and not assignment then
    redis.call('DEL', lock.key)
    return
  end
  local text
  if is_plain(lock) then
    text = text_of(lock.sections[1])
  else
    text = 'R' .. cmsgpack.pack({
      sections = lock.sections, assignment = assignment,
      queue_until = lock.queue_until, permits = lock.permits,
    })
  end
  if assignment and not assignment.ends then
    redis.call('SET', lock.key, text)
  else
    redis.call('SET', lock.key, text, 'PX', ms(till - lock.now) + 1)
  end
end

-- To be called, before a `save` that must not fail, where a section or a turn is renewed, goes on
-- or ends: a server whose memory is full refuses the first write of a script if it may need room,
-- and none that come after one that needs none.
local function need_no_room(lock)
  redis.call('PEXPIRE', lock.key, 86400000)
end

-- A question of this owner may still be on its way, and must not be granted when it arrives.
local function refuse(key, for_ms)
  redis.call('SET', key, '', 'PX', for_ms)
end

-- Starts a lease anew for an owner who counts from now on. One that was extended since, because
-- this question was late, is not cut short.
local function lengthen(lock, section, ttl)
  local ends = lock.now + ttl * 1000
  if ends > section.ends then
    section.ends, section.ttl = ends, math.max(section.ttl, ttl)
  end
end

-- The section of an owner that runs, and where it stands among the others.
local function section_of(lock, owner)
  for index, section in ipairs(lock.sections) do
    if section.owner == owner and not section.resting then
      return section, index
    end
  end
end

-- Ends a section; where it says so, and its body ran, the name rests.
local function finish(lock, index, body_ran)
  local section = lock.sections[index]
  local rests_until = section.since + section.rest
  if body_ran and rests_until > lock.now then
    section.resting = true
    section.ends = rests_until
  else
    table.remove(lock.sections, index)
  end
end

-- Whether a section of this mode fits beside those that run, and so many more of the same mode.
local function fits(lock, mode, more)
  for _, section in ipairs(lock.sections) do
    if section.mode ~= mode then
      return false
    end
  end
  local running = #lock.sections + more
  if mode == 'x' then
    return running == 0
  end
  return mode == 's' or running < tonumber(string.sub(mode, 2))
end

-- What a caller may do: `enter`, `wait`, or nothing at all (`refused`).
local function standing(lock, policy, caller)
  local assignment = lock.assignment
  if policy == '-' then
    return assignment and 'wait' or 'enter'
  end
  if not assignment then
    return policy == 'a' and 'refused' or 'enter'
  end
  return caller ~= '' and assignment.holder == caller and 'enter' or 'refused'
end

local function not_your_turn(lock)
  return { 'turn', lock.assignment and lock.assignment.holder or false }
end

-- A running section, for people to read.
local function describe(lock, section)
  return {
    section.info, section.mode, section.token or 0,
    ms(lock.now - section.since), ms(section.ends - lock.now),
  }
end

-- In how many milliseconds something ends by itself; -1 for never.
local function next_end(lock)
  local ends = lock.assignment and lock.assignment.ends or math.huge
  for _, section in ipairs(lock.sections) do
    ends = math.min(ends, section.ends)
  end
  return ends == math.huge and -1 or ms(ends - lock.now)
end

-- Says something to the process that an owner lives in. Whether anybody was there to hear it;
-- in a cluster the others may be connected to another node, and nobody knows.
local function tell(process, what, owner, more)
  local message = what .. string.sub(owner, 1, 16) .. (more or '')
  local heard = redis.call('PUBLISH', 'lock:process:' .. process, message)
  return heard > 0 or IN_CLUSTER
end
