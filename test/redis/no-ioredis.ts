// Loaded before the program (`--import`): it finds no ioredis, as where nobody installed it.
import { registerHooks } from 'node:module'

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier === 'ioredis' ? 'ioredis-is-not-installed' : specifier, context),
})
