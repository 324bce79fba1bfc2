import { script } from './script.ts'

/**
 * Writes a value where the present one is as expected.
 *
 * KEYS[1] key · ARGV[1] expected value · ARGV[2] new value · ARGV[3] time to live in milliseconds
 * Returns 1 where it wrote, else 0.
 */
export const COMPARE_AND_SET = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`)

/**
 * Gives a key that holds what is expected another time to live.
 *
 * KEYS[1] key · ARGV[1] expected value · ARGV[2] time to live in milliseconds
 * Returns 1 where it did, else 0.
 */
export const COMPARE_AND_EXTEND = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

/**
 * Deletes a key that holds what is expected.
 *
 * KEYS[1] key · ARGV[1] expected value
 * Returns how many keys were deleted.
 */
export const COMPARE_AND_DELETE = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)
