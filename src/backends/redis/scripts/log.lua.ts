import { script } from './script.ts'

// A log is one hash, so that it lies in one slot whatever its key: entries under their ids, and beside them `l` the last id,
// `f` the first one kept, `b` the bytes kept, `c` where it is closed.

/**
 * Appends entries to a log whose last id is the one named.
 *
 * KEYS[1] log · ARGV[1] the last id · ARGV[2] most entries · ARGV[3] most bytes · ARGV[4] time to live in milliseconds
 * ARGV[5] 1 to close it · ARGV[6…] entries
 * Returns { 1 or 0, last id, 1 where it is closed }.
 */
export const APPEND = script(`
local log = KEYS[1]
local kept = redis.call('HMGET', log, 'l', 'f', 'b', 'c')
local last, first, bytes = tonumber(kept[1] or 0), tonumber(kept[2] or 1), tonumber(kept[3] or 0)
if kept[4] or last ~= tonumber(ARGV[1]) then return { 0, last, kept[4] and 1 or 0 } end
for i = 6, #ARGV do
  last = last + 1
  bytes = bytes + #ARGV[i]
  redis.call('HSET', log, last, ARGV[i])
end
local maxEntries, maxBytes = tonumber(ARGV[2]), tonumber(ARGV[3])
while first < last and (last - first >= maxEntries or bytes > maxBytes) do
  bytes = bytes - redis.call('HSTRLEN', log, first)
  redis.call('HDEL', log, first)
  first = first + 1
end
redis.call('HSET', log, 'l', last, 'f', first, 'b', bytes)
if ARGV[5] == '1' then redis.call('HSET', log, 'c', 1) end
redis.call('PEXPIRE', log, ARGV[4])
return { 1, last, ARGV[5] == '1' and 1 or 0 }
`)

/**
 * Reads the entries of a log above an id.
 *
 * KEYS[1] log · ARGV[1] the id · ARGV[2] most entries to read
 * Returns { last id, first id kept, 1 where it is closed, id of the first entry read, entries… }; an empty table where there is no log.
 */
export const READ_AFTER = script(`
local log = KEYS[1]
local kept = redis.call('HMGET', log, 'l', 'f', 'c')
if not kept[1] then return {} end
local last, first = tonumber(kept[1]), tonumber(kept[2])
local from = math.max(tonumber(ARGV[1]) + 1, first)
local to = math.min(from + tonumber(ARGV[2]) - 1, last)
local read = { last, first, kept[3] and 1 or 0, from }
for id = from, to do read[#read + 1] = redis.call('HGET', log, id) end
return read
`)
