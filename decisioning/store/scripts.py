"""Scripts: what the server does in one step. Sent by redis.py; the keys of a call lie in one slot of a cluster."""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A Lua text and the digest by which the server remembers it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = sha1(self.text).hexdigest().encode()  # the server's choice of hash


# KEYS: customer, and blocks where quotas are asked for. Replies {seconds, microseconds, version, state, profile,
# quotas}, version to profile nil when never written, quotas as field and value in turn.
READ = Script("""
local now = redis.call('TIME')
local cell = redis.call('HMGET', KEYS[1], 'v', 's', 'p')
return {now[1], now[2], cell[1], cell[2], cell[3], KEYS[2] and redis.call('HGETALL', KEYS[2])}
""")

# KEYS: customer, log, people, blocks, ledger, reservations, once-keys. ARGV: expected version, state or '', profile or
# '', customer key, count of records, then id and body of each record, then value and seconds to live of each once-key,
# then kind, budget, units, reservation and end of each movement.
# Replies {'committed', version}, {'lost', seconds, microseconds, version, state, profile, quotas} or {'repeated', value
# or nil of each once-key}.
#
# All that can refuse the change is asked before anything is written, because what a script has written stays. SET is
# the only command here that may refuse its arguments, so the once-keys come first.
#
# A customer's first version is the time in microseconds and each later one adds 1. So a customer who is erased and
# comes back gets a higher version than any before, and a commit that was prepared before the erasure cannot bring the
# old keys back. The sum is HINCRBY's: Lua would print a number this large as 1.7e+15.
#
# Whose records they are is read from the state, where packing.py puts it; without a new one, from the one that is
# stored. So no record ever names a person key that leads to nobody while its customer lives.
COMMIT = Script("""
local repeated, values = false, {'repeated'}
for i = 7, #KEYS do
  local value = redis.call('GET', KEYS[i])
  values[i - 5] = value
  repeated = repeated or value
end
if repeated then return values end

local records_end = 5 + 2 * tonumber(ARGV[5])
local once_end = records_end + 2 * (#KEYS - 6)
local version = redis.call('HGET', KEYS[1], 'v')
local lost, needed = (version or '0') ~= ARGV[1], {}
for i = once_end + 1, #ARGV, 5 do
  local kind, budget = ARGV[i], ARGV[i + 1]
  if kind == 'spend' or kind == 'reserve' then
    needed[budget] = (needed[budget] or 0) + ARGV[i + 2]
    lost = lost or needed[budget] > tonumber(redis.call('HGET', KEYS[4], budget) or 0)
  elseif kind == 'keep' then
    lost = lost or not redis.call('ZSCORE', KEYS[6], ARGV[i + 3])
  end
end
if lost then
  local now, cell = redis.call('TIME'), redis.call('HMGET', KEYS[1], 's', 'p')
  return {'lost', now[1], now[2], version, cell[1], cell[2], redis.call('HGETALL', KEYS[4])}
end

for i = 7, #KEYS do
  local value = records_end + 2 * (i - 7) + 1
  redis.call('SET', KEYS[i], ARGV[value], 'EX', ARGV[value + 1])
end
if ARGV[2] ~= '' then
  if not version then
    local now = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'v', now[1] .. string.format('%06d', now[2]))
  end
  version = redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('HSET', KEYS[1], 's', ARGV[2])
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'p', ARGV[3]) end
end
if records_end > 5 then
  local state = ARGV[2] ~= '' and ARGV[2] or redis.call('HGET', KEYS[1], 's')
  redis.call('HSETNX', KEYS[3], string.sub(state, 3, 2 + string.byte(state, 2)), ARGV[4])
end
for i = 6, records_end, 2 do
  redis.call('XADD', KEYS[2], '*', 'i', ARGV[i], 'r', ARGV[i + 1])
end
for i = once_end + 1, #ARGV, 5 do
  local kind, budget, units, name = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if kind == 'spend' or kind == 'reserve' then redis.call('HINCRBY', KEYS[4], budget, '-' .. units) end
  if kind == 'reserve' then
    redis.call('ZADD', KEYS[6], ARGV[i + 4], name)
    redis.call('HINCRBY', KEYS[5], 'held ' .. budget, units)
  elseif kind == 'overrun' then
    redis.call('HINCRBY', KEYS[5], 'over ' .. budget, units)
  elseif kind ~= 'spend' and redis.call('ZREM', KEYS[6], name) == 1 then
    redis.call('HINCRBY', KEYS[5], 'held ' .. budget, '-' .. units)
    if kind == 'release' then redis.call('HINCRBY', KEYS[4], budget, units) end
  end
end
return {'committed', version}
""")

# KEYS: blocks, ledger, reservations. ARGV: how many ended reservations to release at most; the rest is released by the
# next call. Replies {blocks, ledger}, each as field and value in turn. The name of a reservation begins with its units
# and its budget.
BLOCKS = Script("""
local now = redis.call('TIME')
local now_ms = now[1] .. string.format('%03d', math.floor(now[2] / 1000))
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms, 'LIMIT', 0, ARGV[1])) do
  local units, budget = string.match(name, '^(%d+) (%S+) ')
  redis.call('ZREM', KEYS[3], name)
  redis.call('HINCRBY', KEYS[2], 'held ' .. budget, '-' .. units)
  redis.call('HINCRBY', KEYS[1], budget, units)
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
""")

# KEYS: blocks, ledger. ARGV: budget, total granted, units to give back, 1 when the counter has none.
# Replies {at hand, received, returned, reserved, overrun}, nil for zero.
DELIVER = Script("""
local budget, granted = ARGV[1], tonumber(ARGV[2])
local arriving = granted - tonumber(redis.call('HGET', KEYS[2], 'in ' .. budget) or 0)
if arriving > 0 then
  redis.call('HINCRBY', KEYS[1], budget, arriving)
  redis.call('HINCRBY', KEYS[2], 'in ' .. budget, arriving)
  redis.call('HDEL', KEYS[1], '!' .. budget)
end
local leaving = math.min(tonumber(redis.call('HGET', KEYS[1], budget) or 0), tonumber(ARGV[3]))
if leaving > 0 then
  redis.call('HINCRBY', KEYS[1], budget, -leaving)
  redis.call('HINCRBY', KEYS[2], 'out ' .. budget, leaving)
end
if ARGV[4] == '1' then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], '!' .. budget, now[1] .. string.format('%03d', math.floor(now[2] / 1000)))
end
local ledger = redis.call('HMGET', KEYS[2], 'in ' .. budget, 'out ' .. budget, 'held ' .. budget, 'over ' .. budget)
return {redis.call('HGET', KEYS[1], budget), ledger[1], ledger[2], ledger[3], ledger[4]}
""")

# KEYS: counter. ARGV: partition, received or '' where it was not asked, returned, limit, wanted, least, twice the
# number of partitions, seconds to live or 0. Replies {total granted to the partition, what is left}.
#
# A partition that has received more than is written here met the counter before a failover lost the grant: it counts.
CLAIM = Script("""
local cell = redis.call('HMGET', KEYS[1], 'g' .. ARGV[1], 'r' .. ARGV[1], 'out')
local granted, returned = tonumber(cell[1] or 0), tonumber(cell[2] or 0)
local received, left = tonumber(ARGV[2]), tonumber(ARGV[4]) - tonumber(cell[3] or 0)
local grown, back = math.max((received or 0) - granted, 0), math.max(tonumber(ARGV[3]) - returned, 0)
left = left - grown + back
local wanted = tonumber(ARGV[5])
if wanted > 0 and (not received or granted + grown == received) then
  if left >= tonumber(ARGV[6]) then
    local amount = math.min(left, math.max(wanted, math.floor(left / tonumber(ARGV[7]))))
    grown, left = grown + amount, left - amount
  else
    local now = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'empty', now[1] .. string.format('%03d', math.floor(now[2] / 1000)))
  end
end
if grown > 0 then redis.call('HINCRBY', KEYS[1], 'g' .. ARGV[1], grown) end
if back > 0 then redis.call('HINCRBY', KEYS[1], 'r' .. ARGV[1], back) end
if grown ~= back then redis.call('HINCRBY', KEYS[1], 'out', grown - back) end
if ARGV[8] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[8]) end
return {granted + grown, left}
""")

# KEYS: customer, people. Replies 1 when there was such a customer. The person key is read from the state as it is now,
# where packing.py puts it: a caller's copy may be older than a commit that has just made it. A state that cannot be
# read is erased all the same.
ERASE = Script("""
local state = redis.call('HGET', KEYS[1], 's') or ''
redis.call('HDEL', KEYS[2], string.sub(state, 3, 2 + (string.byte(state, 2) or 0)))
return redis.call('DEL', KEYS[1])
""")

# KEYS: log. Replies {bytes of memory, position of the first record or nil}.
LOG_SIZE = Script("""
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {redis.call('MEMORY', 'USAGE', KEYS[1]) or 0, first and first[1] or false}
""")

# KEYS: the lease on a job. ARGV: owner, milliseconds to live. Replies 1 when the job is the owner's now.
OWN = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
