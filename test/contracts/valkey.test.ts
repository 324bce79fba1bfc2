import { redisContracts } from './redis.ts'

await redisContracts('valkey')
