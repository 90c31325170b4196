"""The scripts that Redis runs on claims. Each is one step that nothing interrupts.

Every script begins with the generation. It is lost, and a new one begins in which nothing is covered, where

* its key is missing: Redis was emptied. Then claims go under other keys, of a new *era*, so that no ticket of before is
  taken for one of now;
* it was begun by another run of Redis: restarted, or failed over, so perhaps from a copy that is a second old;
* Redis has evicted keys since, or counts fewer tickets than the caller has seen;
* a script met a key that another program has written.

Keys of batches are made of their tickets' numbers within the script. All keys of a scope have one hash tag, so they are
on the node of a cluster that runs it.
"""

from typing import Final

_GENERATION: Final = """
local TTL = 604800
local REFUSED = {}

local function read(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then error(found.err) end
    return REFUSED
  end
  return found
end

local function lose(key)
  redis.call('HDEL', KEYS[1], 'name')
  return {'damaged', key}
end

-- KEYS: generation, coverage. ARGV: a fresh name, a fresh era, the generation last seen, its highest ticket.
local function generation()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
  local kept = read('HMGET', KEYS[1], 'name', 'run', 'evicted', 'era', 'tickets')
  if kept == REFUSED then
    redis.call('DEL', KEYS[1])
    kept = {}
  end
  local name, era, tickets = kept[1], kept[4], tonumber(kept[5] or '')
  local behind = name == ARGV[3] and tickets and tickets < tonumber(ARGV[4])
  if not (name and era and tickets) or kept[2] ~= run or kept[3] ~= evicted or behind then
    if not (era and tickets) or behind then era, tickets = ARGV[2], 1 end
    name = ARGV[1]
    redis.call('HSET', KEYS[1], 'name', name, 'run', run, 'evicted', evicted, 'era', era, 'tickets', tickets)
    redis.call('DEL', KEYS[2])
    redis.call('EXPIRE', KEYS[1], TTL)
  end
  return name, era
end

local function coverage_of(field)
  local kept = redis.call('HGET', KEYS[2], field)
  if not kept then return nil end
  local since, commit, number, on = string.match(kept, '^([^\\t]*)\\t([^\\t]*)\\t(%d+)\\t([^\\t]*)$')
  if not since then return nil end
  return {since = since, commit = commit, number = number, on = on}
end

local function cover(field, now)
  redis.call('HSET', KEYS[2], field, table.concat({now.since, now.commit, now.number, now.on}, '\\t'))
  redis.call('EXPIRE', KEYS[2], TTL)
end

local name, era = generation()
if read('HLEN', KEYS[2]) == REFUSED then
  redis.call('DEL', KEYS[2])
  return lose(KEYS[2])
end
"""

PUT: Final = (
    _GENERATION
    + """
-- KEYS: 3 the lock; from 4 on those of claims, whose records (id, place, expected holder) are in ARGV from 14 on.
-- ARGV: 5 the era of the keys; 6 the generation, '' for any; 7 the token of the lock, '' for none, 8 for how long, ms;
-- 9 the ticket, '' for a new one; 10 the key of the ticket's batch up to its number; 11 what expires when, s;
-- 12 first and last, as the parts of one batch are marked; 13 the record of a new ticket's batch, in those two.
local wanted, token, prefix, ttl, part = ARGV[6], ARGV[7], ARGV[10], ARGV[11], ARGV[12]
if wanted ~= '' and wanted ~= name then return {'lost', name, era} end
if ARGV[5] ~= era then return {'moved', name, era} end

local ticket = tonumber(ARGV[9])
if token ~= '' then
  local lock = read('GET', KEYS[3])
  local owner, of, number = nil, nil, nil
  if lock ~= REFUSED and lock then owner, of, number = string.match(lock, '^(%x+) (%x+) (%d+)$') end
  if of ~= era then owner = nil end
  if owner ~= token then
    if owner or not string.find(part, 'first', 1, true) then return {'busy', name, era} end
    if not ticket then
      ticket = redis.call('HINCRBY', KEYS[1], 'tickets', 1)
      redis.call('SET', prefix .. ticket, ARGV[13], 'EX', ttl)
    elseif redis.call('EXISTS', prefix .. ticket) == 0 then
      return {'lost', name, era}
    end
  else
    ticket = tonumber(number)
  end
  redis.call('SET', KEYS[3], token .. ' ' .. era .. ' ' .. ticket, 'PX', ARGV[8])
end

local own, others, at = struct.pack('<I4', ticket), {}, 0
for k = 4, #KEYS do
  local records = ARGV[k + 10]
  for first = 1, #records, 48000 do
    local last, ids, new = math.min(first + 47999, #records), {}, {}
    for i = first, last, 24 do ids[#ids + 1] = string.sub(records, i, i + 15) end
    local holders = read('HMGET', KEYS[k], unpack(ids))
    if holders == REFUSED then
      redis.call('DEL', KEYS[k])
      return lose(KEYS[k])
    end
    for n = 1, #ids do
      local i, holder = first + 24 * (n - 1), holders[n]
      if not holder or holder == string.sub(records, i + 18, i + 23) then
        new[#new + 1] = ids[n]
        new[#new + 1] = string.sub(records, i + 16, i + 17) .. own
      elseif #holder ~= 6 then
        redis.call('DEL', KEYS[k])
        return lose(KEYS[k])
      elseif string.sub(holder, 3) ~= own then
        others[#others + 1] = struct.pack('<I4', at)
        others[#others + 1] = holder
      end
      at = at + 1
    end
    if #new > 0 then redis.call('HSET', KEYS[k], unpack(new)) end
  end
  redis.call('EXPIRE', KEYS[k], ttl)
end

local covered = {}
if string.find(part, 'last', 1, true) then
  if ARGV[13] ~= '' then
    -- A record: its flag, the consumer, and of each partition topic, epoch, number and base.
    for field, base in string.gmatch(string.match(ARGV[13], '^[^\\t]*\\t[^\\t]*(.*)$'),
        '\\t([^\\t]*\\t[^\\t]*\\t[^\\t]*)\\t([^\\t]*)') do
      local now = coverage_of(field) or {since = base, commit = base, number = '0'}
      now.on = base
      cover(field, now)
    end
    redis.call('EXPIRE', KEYS[1], TTL)
  end
  covered = redis.call('HGETALL', KEYS[2])
  redis.call('DEL', KEYS[3])
end
return {'ok', name, era, ticket, table.concat(others), covered}
"""
)
"""Puts claims of one ticket where nobody has one, or where the holder is the expected one.

All parts of a batch but those of stored rows run under a lock, which its first part takes and its last one gives up, so
that a batch is claimed as a whole. The lock ends by itself; then a later part is refused, and the caller begins again
with the same ticket.
"""

CONFIRM: Final = (
    _GENERATION
    + """
-- KEYS: 3 the batch. ARGV: 5 the generation, 6 what expires when, s; from 7 on of each partition that the commit moved
-- its field, commit and sequence number.
local record = read('GET', KEYS[3])
local partitions = record and record ~= REFUSED and string.match(record, '^[01]\\t[^\\t]*(.*)$')
if ARGV[5] ~= name or not partitions then return {'lost', name, era} end
if #ARGV < 7 then
  redis.call('DEL', KEYS[3])
  return {'ok', name, era}
end
redis.call('SET', KEYS[3], '1' .. string.sub(record, 2), 'EX', ARGV[6])
local bases = {}
for field, base in string.gmatch(partitions, '\\t([^\\t]*\\t[^\\t]*\\t[^\\t]*)\\t([^\\t]*)') do
  bases[field] = base
end
for i = 7, #ARGV, 3 do
  local base = bases[ARGV[i]]
  if base then
    local now = coverage_of(ARGV[i]) or {since = base, commit = base, on = base}
    if now.commit ~= base then now.since = base end
    now.commit, now.number = ARGV[i + 1], ARGV[i + 2]
    cover(ARGV[i], now)
  end
end
return {'ok', name, era}
"""
)
"""Marks a batch, and moves coverage as `k2ctl.dedup.shared.coverage.when_confirmed`."""

COVER: Final = (
    _GENERATION
    + """
-- ARGV: 5 the generation; from 6 on of each partition its field, commit and sequence number, and what was covered when
-- healing began: '1' or '' for nothing, since and commit.
if ARGV[5] ~= name then return {'lost', name, era} end
for i = 6, #ARGV, 6 do
  local field, commit, number = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local now = coverage_of(field)
  if not now or (ARGV[i + 3] == '1' and now.since == ARGV[i + 4] and now.commit == ARGV[i + 5]) then
    cover(field, {since = '', commit = commit, number = number, on = now and now.on or ''})
  elseif commit == now.since or commit == now.commit then
    now.since = ''
    cover(field, now)
  end
end
return {'ok', name, era}
"""
)
"""Moves coverage as `k2ctl.dedup.shared.coverage.when_healed`."""

COVERED: Final = _GENERATION + "return {'ok', name, era, redis.call('HGETALL', KEYS[2])}"
"""The generation and what it covers."""

TURN: Final = """
local healer = redis.pcall('GET', KEYS[1])
if healer and healer ~= ARGV[1] and type(healer) == 'string' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""Who heals, so that not all do; the key ends by itself."""
