import { script } from './script.ts'

/**
 * Takes tokens from every bucket, or from none: the generic cell rate algorithm (ITU-T I.371) on the server's clock.
 *
 * A key holds when its bucket will be full again, in microseconds of the server's clock; none: it is full. Everything is
 * reckoned from now, since beside the epoch in microseconds a part of a token would be lost to rounding. Where the clock was
 * set back (or the burst lowered), the bucket is taken for empty and written so, else it would stay shut until the clock
 * is again where it was.
 *
 * KEYS a bucket each · ARGV four a bucket: microseconds in which a token comes back, burst, tokens wanted (less than 0:
 * given back), least of them
 * Returns { bucket that refused or 0, milliseconds until it has enough, then three a bucket: granted, whole tokens left,
 * milliseconds until it is full }.
 */
export const TAKE_TOKENS = script(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refusedBy, wait = 0, 0
local interval, burst, missing, granted = {}, {}, {}, {}
local function whole(i, missingUs) return math.max(0, math.floor(burst[i] - missingUs / interval[i] + 1e-6)) end
local function keep(key, fullAfter)
  redis.call('SET', key, string.format('%.17g', now + fullAfter), 'PX', math.ceil(fullAfter / 1000) + 1000)
end
for i = 1, #KEYS do
  interval[i], burst[i] = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2])
  local cost, least = tonumber(ARGV[i * 4 - 1]), tonumber(ARGV[i * 4])
  local fullAfter = (tonumber(redis.call('GET', KEYS[i])) or now) - now
  missing[i] = math.min(math.max(fullAfter, 0), burst[i] * interval[i])
  if fullAfter > missing[i] + 1000 then keep(KEYS[i], missing[i]) end
  local available = whole(i, missing[i])
  granted[i] = math.min(cost, available)
  if available < least then
    local untilEnough = missing[i] - (burst[i] - least) * interval[i]
    if untilEnough > wait then refusedBy, wait = i, untilEnough end
  end
end
local answer = { refusedBy, math.ceil(wait / 1000) }
for i = 1, #KEYS do
  local taken = refusedBy == 0 and granted[i] or 0
  local fullAfter = math.max(missing[i] + taken * interval[i], 0)
  if taken ~= 0 then keep(KEYS[i], fullAfter) end
  answer[#answer + 1] = taken
  answer[#answer + 1] = whole(i, fullAfter)
  answer[#answer + 1] = math.ceil(fullAfter / 1000)
end
return answer
`)
