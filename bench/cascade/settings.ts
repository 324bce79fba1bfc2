/** What the servers and the section of the cascade agree on. */

/** The model's time for one attempt: thirty times what a healthy one takes. */
export const modelTimeoutMs = 1000
/** How long a breaker stays open before it lets a probe through. */
export const probeMs = 1000
/** What `lookup` takes. */
export const lookupMs = 5
