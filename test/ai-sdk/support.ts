import {
  APICallError,
  type LanguageModelV4FinishReason,
  type LanguageModelV4GenerateResult,
  type LanguageModelV4StreamPart,
  type LanguageModelV4StreamResult,
  type LanguageModelV4Usage,
} from '@ai-sdk/provider'
import { onTestFinished } from 'vitest'
import * as z from 'zod'
import { defineServer, defineTool, type Context, type JsonObject, type ServerOptions } from '../../src/index.ts'
import { connect, type ConnectOptions, type RequestOptions, type TestClient } from '../../src/testing/index.ts'

type Reason = LanguageModelV4FinishReason['unified']

export const finished = (unified: Reason): LanguageModelV4FinishReason => ({ unified, raw: unified })

export const usageOf = (input: number, output: number): LanguageModelV4Usage => ({
  inputTokens: { total: input, noCache: input, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: output, text: output, reasoning: 0 },
})
export const NO_USAGE: LanguageModelV4Usage = {
  inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined },
}

/** The parts of a stream that says these texts, but for its end. */
export function textParts(...texts: string[]): LanguageModelV4StreamPart[] {
  return [
    { type: 'stream-start', warnings: [] },
    { type: 'text-start', id: '1' },
    ...texts.map((delta) => ({ type: 'text-delta' as const, id: '1', delta })),
    { type: 'text-end', id: '1' },
  ]
}

export const finish = (reason: Reason = 'stop', usage = usageOf(10, 5)): LanguageModelV4StreamPart => ({
  type: 'finish',
  finishReason: finished(reason),
  usage,
})

export async function readAll<T>(stream: ReadableStream<T>): Promise<T[]> {
  return collect(stream as unknown as AsyncIterable<T>)
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** A model's answer in one piece. */
export const answer = (
  text: string,
  more: Partial<LanguageModelV4GenerateResult> = {},
): LanguageModelV4GenerateResult => ({
  content: [{ type: 'text', text }],
  finishReason: finished('stop'),
  usage: usageOf(10, 5),
  warnings: [],
  ...more,
})

/** A stream of these parts, each when it is asked for. */
export function streamOf(
  parts: Iterable<LanguageModelV4StreamPart> | AsyncIterable<LanguageModelV4StreamPart>,
): LanguageModelV4StreamResult {
  return { stream: ReadableStream.from(parts) as ReadableStream<LanguageModelV4StreamPart> }
}

/** An error of a provider's, as the AI SDK knows it. */
export const apiError = (statusCode: number, headers: Record<string, string> = {}): APICallError =>
  new APICallError({
    message: `status ${statusCode}`,
    url: 'http://model.test',
    requestBodyValues: {},
    statusCode,
    responseHeaders: headers,
  })

type Run = (ctx: Context, args: JsonObject) => Promise<unknown>

/** A client of a server with one tool, `run`, that does what the test says and answers with JSON. */
export async function clientOf(
  run: Run,
  { limits = [], ...options }: ConnectOptions & { limits?: ServerOptions['limits'] } = {},
): Promise<TestClient> {
  const tool = defineTool({
    name: 'run',
    description: 'Does what the test says',
    input: z.record(z.string(), z.unknown()),
    run: async (args, ctx) => JSON.stringify((await run(ctx, args as JsonObject)) ?? null),
  })
  const client = await connect(defineServer({ name: 'models', version: '1.0.0', tools: [tool], limits }), {
    principal: { subject: 'ann' },
    ...options,
  })
  onTestFinished(() => client.close())
  return client
}

/** What the tool came to. @throws {Error} with what the model would read of a failure. */
export async function called(client: TestClient, args: JsonObject = {}, options?: RequestOptions): Promise<unknown> {
  const { isError, text } = await client.callTool('run', args, options)
  if (isError) throw new Error(text)
  return JSON.parse(text)
}

/** The lines of these metrics, without help and type, in order. */
export async function metricsOf(client: TestClient, prefix = 'holdfast_llm_'): Promise<string[]> {
  const { body } = await client.runtime.metrics()
  return body
    .split('\n')
    .filter((line) => line.startsWith(prefix))
    .toSorted()
}
