import type { QueueEvents } from '../../src/backends/broker/events.ts'

/** In these tests brokers come and go. */
export const anything: QueueEvents = { onUp() {}, onDown() {}, onRefused() {} }

/** A URL with options on top of those that it has. */
export function withOptions(url: string, options: Readonly<Record<string, string | number>>): string {
  const more = Object.entries(options).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `${url}${url.includes('?') ? '&' : '?'}${more.join('&')}`
}
