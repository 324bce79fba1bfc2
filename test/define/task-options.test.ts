import { describe, expect, test } from 'vitest'
import { defineTool } from '../../src/define/tool.ts'
import type { TaskOptions } from '../../src/define/task.ts'

const tool = (task: TaskOptions | true, concurrency?: number) =>
  defineTool({
    name: 'report',
    description: 'Writes a report',
    task,
    ...(concurrency === undefined ? {} : { concurrency }),
    run: () => 'done',
  }).task!

describe('attempts at once', () => {
  test('are bounded by `task.concurrency`, else by the bound of the tool, else by nothing', () => {
    expect(tool({ concurrency: 4 }, 2).concurrency).toBe(4)
    expect(tool({}, 2).concurrency).toBe(2)
    expect(tool(true, 2).concurrency).toBe(2)
    expect(tool(true).concurrency).toBeUndefined()
  })
  test.each([0, -1, 1.5, Number.NaN, '4' as unknown as number])(
    '%s is refused, with what it must be',
    (concurrency) => {
      expect(() => tool({ concurrency })).toThrow(/`task.concurrency` is .*It must be a whole number, 1 or more/)
    },
  )
})
