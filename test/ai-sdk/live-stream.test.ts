import type { LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { describe, expect, it } from 'vitest'
import { LiveStream } from '../../src/ai-sdk/live-stream.ts'
import type { Recording } from '../../src/ai-sdk/recording.ts'
import { finish, readAll, textParts } from './support.ts'

const [start, begin, delta, end] = textParts('a') as [
  LanguageModelV4StreamPart,
  LanguageModelV4StreamPart,
  LanguageModelV4StreamPart,
  LanguageModelV4StreamPart,
]

function followed(): { live: LiveStream; coming: PromiseWithResolvers<Recording> } {
  const live = new LiveStream()
  const coming = Promise.withResolvers<Recording>()
  live.follow(coming.promise)
  return { live, coming }
}

describe('a stream that comes in', () => {
  it('is read from its beginning by each reader, whenever they come', async () => {
    const { live, coming } = followed()
    live.open({ response: { headers: { 'x-a': '1' } } })
    for (const part of [start, begin]) live.push(part)
    const first = await live.read(undefined)
    expect(first.response).toEqual({ headers: { 'x-a': '1' } })
    const one = readAll(first.stream)
    live.push(delta)
    const two = readAll((await live.read(undefined)).stream)
    live.push(end)
    live.push(finish())
    coming.resolve({ parts: [], ms: 1 })
    expect(await one).toEqual([start, begin, delta, end, finish()])
    expect(await two).toEqual(await one)
  })

  it('goes on while somebody reads, and ends when the last one has left', async () => {
    const { live } = followed()
    live.open({})
    live.push(start)
    const leaving = new AbortController()
    const one = (await live.read(leaving.signal)).stream.getReader()
    const two = (await live.read(undefined)).stream.getReader()
    await one.read()
    const waiting = one.read()
    const reason = new Error('gone')
    leaving.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    expect(live.isAbandoned).toBe(false)
    await two.cancel()
    expect(live.isAbandoned).toBe(true)
    expect(live.signal.reason).toMatchObject({ name: 'AbortError' })
  })

  it('that fails before it is open fails the call; after that it breaks the stream', async () => {
    const failed = followed()
    const call = failed.live.read(undefined)
    const error = new Error('refused')
    failed.coming.reject(error)
    await expect(call).rejects.toBe(error)
    const broken = followed()
    broken.live.open({})
    broken.live.push(start)
    const { stream } = await broken.live.read(undefined)
    broken.coming.reject(error)
    await expect(readAll(stream)).rejects.toBe(error)
  })

  it('that nobody waits for any more is told so before it is open', async () => {
    const { live } = followed()
    const leaving = new AbortController()
    const call = live.read(leaving.signal)
    const reason = new Error('gone')
    leaving.abort(reason)
    await expect(call).rejects.toBe(reason)
    expect(live.signal.reason).toBe(reason)
    await expect(live.read(AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('is not ended by a reader who leaves when it is over', async () => {
    const { live, coming } = followed()
    live.open({})
    live.push(start)
    coming.resolve({ parts: [], ms: 1 })
    await live.ended
    await (await live.read(undefined)).stream.cancel()
    expect(live.isAbandoned).toBe(false)
  })
})
