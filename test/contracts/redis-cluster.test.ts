import { redisContracts } from './redis.ts'

await redisContracts('redis-cluster')
