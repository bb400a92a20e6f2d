"""Scripts: what the server does in one step. Sent by redis.py; each keeps to the keys of one partition."""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A Lua text and the digest by which the server remembers it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = sha1(self.text).hexdigest().encode()  # the server's choice of hash


# KEYS: customer. Replies {seconds, microseconds, version, state, profile}, the last three nil when never written.
READ = Script("""
local now = redis.call('TIME')
local cell = redis.call('HMGET', KEYS[1], 'v', 's', 'p')
return {now[1], now[2], cell[1], cell[2], cell[3]}
""")

# KEYS: customer, log, people, once-keys. ARGV: expected version, state or '', profile or '', person key, customer key,
# count of records, then id and body of each record, then value and seconds to live of each once-key.
# Replies {'committed', version}, {'lost', seconds, microseconds, version, state, profile} or {'repeated', value or nil
# of each once-key}.
#
# The once-keys are written first because SET is the only command here that may refuse its arguments, and what a script
# has written stays.
#
# A customer's first version is the time in microseconds and each later one adds 1. So a customer who is erased and
# comes back gets a higher version than any before, and a commit that was prepared before the erasure cannot bring the
# old keys back. The sum is HINCRBY's: Lua would print a number this large as 1.7e+15.
COMMIT = Script("""
local repeated, values = false, {'repeated'}
for i = 4, #KEYS do
  local value = redis.call('GET', KEYS[i])
  values[i - 2] = value
  repeated = repeated or value
end
if repeated then return values end

local version = redis.call('HGET', KEYS[1], 'v')
if (version or '0') ~= ARGV[1] then
  local now, cell = redis.call('TIME'), redis.call('HMGET', KEYS[1], 's', 'p')
  return {'lost', now[1], now[2], version, cell[1], cell[2]}
end

local records_end = 6 + 2 * tonumber(ARGV[6])
for i = 4, #KEYS do
  local value = records_end + 2 * (i - 4) + 1
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
  if records_end > 6 then redis.call('HSETNX', KEYS[3], ARGV[4], ARGV[5]) end
end
for i = 7, records_end, 2 do
  redis.call('XADD', KEYS[2], '*', 'i', ARGV[i], 'r', ARGV[i + 1])
end
return {'committed', version}
""")

# KEYS: customer, people. Replies 1 when there was such a customer. The person key is read from the state as it is now:
# a caller's copy may be older than a commit that has just made it. A state that cannot be read is erased all the same.
ERASE = Script("""
local readable, state = pcall(cjson.decode, redis.call('HGET', KEYS[1], 's') or '{}')
if readable and state['person_key'] then redis.call('HDEL', KEYS[2], state['person_key']) end
return redis.call('DEL', KEYS[1])
""")

# KEYS: the lease on a job. ARGV: owner, milliseconds to live. Replies 1 when the job is the owner's now.
OWN = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
