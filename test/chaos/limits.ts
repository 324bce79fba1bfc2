/** How often a task of a run may be tried, and its workers be lost at it without having put anything on record. */
export const LIMITS = { maxAttempts: 5, maxCrashes: 5 } as const
