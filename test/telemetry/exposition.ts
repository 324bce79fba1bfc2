/**
 * A strict reader of Prometheus' text format 0.0.4: what a scraper would forgive is an error here.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export interface Family {
  name: string
  help: string
  type: string
  samples: Sample[]
}
export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

const SUFFIXES: Record<string, readonly string[]> = {
  counter: [''],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
}
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/

export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('The last line has no end.')
  const families = new Map<string, Family>()
  let current: Family | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (keyword === 'HELP') {
      if (families.has(name!)) throw new Error(`A second family ${name}.`)
      if (!NAME.test(name!)) throw new Error(`A family can't be named ${name}.`)
      current = { name: name!, help: rest!, type: '', samples: [] }
      families.set(name!, current)
    } else if (keyword === 'TYPE') {
      if (current?.name !== name || current!.type !== '' || current!.samples.length > 0)
        throw new Error(`TYPE of ${name} is out of place.`)
      if (!Object.hasOwn(SUFFIXES, rest!)) throw new Error(`There is no type ${rest}.`)
      current!.type = rest!
    } else {
      const sample = parseSample(line)
      if (current === undefined || !SUFFIXES[current.type]?.some((suffix) => sample.name === current!.name + suffix))
        throw new Error(`A sample out of place: ${line}`)
      current.samples.push(sample)
    }
  }
  for (const family of families.values()) check(family)
  return families
}

function parseSample(line: string): Sample {
  const [, name, labelled, value] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/.exec(line) ?? []
  if (name === undefined) throw new Error(`Not a sample: ${line}`)
  const number = value === '+Inf' ? Infinity : value === 'Nan' || value === 'NaN' ? NaN : Number(value)
  if (value !== 'NaN' && value !== 'Nan' && Number.isNaN(number)) throw new Error(`Not a number: ${line}`)
  return { name, labels: labelled === undefined ? {} : parseLabels(labelled.slice(1, -1), line), value: number }
}

function parseLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {}
  let rest = text
  while (rest !== '') {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest)
    if (match === null) throw new Error(`Labels that can't be read: ${line}`)
    const [whole, name, value] = match as unknown as [string, string, string]
    if (name in labels) throw new Error(`The label ${name} stands twice: ${line}`)
    labels[name] = value.replaceAll(/\\(["\\n])/g, (_all, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    rest = rest.slice(whole.length)
  }
  return labels
}

function check({ name, help, type, samples }: Family): void {
  if (help === '' || type === '') throw new Error(`${name} lacks HELP or TYPE.`)
  const seen = new Set<string>()
  for (const sample of samples) {
    const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    if (seen.has(key)) throw new Error(`A series stands twice: ${key}`)
    seen.add(key)
    if (type === 'counter' && !(sample.value >= 0)) throw new Error(`A counter is ${sample.value}: ${name}`)
  }
  if (type === 'histogram') checkHistogram(name, samples)
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  const series = new Map<string, { buckets: [number, number][]; sum?: number; count?: number }>()
  for (const sample of samples) {
    const { le, ...labels } = sample.labels
    const key = JSON.stringify(Object.entries(labels).sort())
    let one = series.get(key)
    if (one === undefined) series.set(key, (one = { buckets: [] }))
    if (sample.name === `${name}_bucket`) one.buckets.push([le === '+Inf' ? Infinity : Number(le), sample.value])
    else if (sample.name === `${name}_sum`) one.sum = sample.value
    else one.count = sample.value
  }
  for (const [key, { buckets, sum, count }] of series) {
    if (sum === undefined || count === undefined) throw new Error(`${name}${key} has no sum or no count.`)
    if (buckets.at(-1)?.[0] !== Infinity || buckets.at(-1)![1] !== count)
      throw new Error(`${name}${key}: the last bucket must be +Inf and hold all.`)
    for (let index = 1; index < buckets.length; index++)
      if (!(buckets[index]![0] > buckets[index - 1]![0]) || !(buckets[index]![1] >= buckets[index - 1]![1]))
        throw new Error(`${name}${key}: bounds must rise, and counts must not fall.`)
  }
}

/** The sum of the samples of a name whose labels include these. */
export function valueOf(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number {
  let sum = 0
  for (const family of families.values())
    for (const sample of family.samples)
      if (sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
        sum += sample.value
  return sum
}
