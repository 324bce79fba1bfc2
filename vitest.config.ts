import { defineConfig } from 'vitest/config'

// `holdfast` is the built package: tests of the public surface import what users import.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/servers/hub.ts'],
    setupFiles: ['test/support/leaks.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default'],
  },
})
