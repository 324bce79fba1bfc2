/** Draws what callers saw, second by second, with the guard and without. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { peersDir } from '../lib/peers.ts'
import type { Run, Sample, Tool } from './run.ts'

const widthPx = 960
const panelPx = 230
const stepMs = 500
/** The axis is logarithmic; nothing is shown below. */
const leastMs = 0.5
const names = ['well', 'slow', 'dead', 'back']

/** As much of `echarts` as is used; its package is installed beside the other servers. */
interface ECharts {
  init(
    element: null,
    theme: null,
    options: { renderer: 'svg'; ssr: true; width: number; height: number },
  ): { setOption(option: object): void; renderToSVGString(): string; dispose(): void }
}

interface Line {
  readonly name: string
  readonly color: string
  readonly points: (readonly [seconds: number, ms: number])[]
}

/** An SVG of two panels over one time: latencies of the two tools that need no model, and of the one that does. */
export function plotCascade(guarded: Run, bare: Run): string {
  const require = createRequire(join(peersDir, 'package.json'))
  const echarts = require('echarts') as ECharts
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: widthPx, height: panelPx * 2 + 110 })
  const panels = [
    { title: 'With the guard: latency in ms', run: guarded },
    { title: 'Without it', run: bare },
  ]
  const lines = panels.map(({ run }) => linesOf(run))
  const endS = Math.max(...lines.flat().flatMap(({ points }) => points.map(([seconds]) => seconds)))
  const mostMs =
    10 ** Math.ceil(Math.log10(Math.max(...lines.flat().flatMap(({ points }) => points.map(([, ms]) => ms)))))
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    textStyle: { fontFamily: 'sans-serif' },
    legend: { top: 8, data: lines[0]!.map(({ name }) => name) },
    title: panels.map(({ title }, index) => ({
      text: title,
      left: 70,
      top: 36 + index * (panelPx + 30),
      textStyle: { fontSize: 13 },
    })),
    grid: panels.map((_, index) => ({ left: 70, right: 20, top: 62 + index * (panelPx + 30), height: panelPx - 50 })),
    xAxis: panels.map((_, index) => ({
      type: 'value',
      gridIndex: index,
      min: 0,
      max: Math.ceil(endS),
      name: index === 1 ? 'seconds' : '',
      nameLocation: 'middle',
      nameGap: 26,
    })),
    yAxis: panels.map((_, index) => ({ type: 'log', gridIndex: index, min: leastMs, max: mostMs })),
    series: lines.flatMap((panel, index) =>
      panel.map(({ name, color, points }, nth) => ({
        type: 'line',
        name,
        xAxisIndex: index,
        yAxisIndex: index,
        showSymbol: false,
        color,
        data: points,
        ...(nth === 0 ? { markArea: phaseMarks(panels[index]!.run, endS) } : {}),
      })),
    ),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

const TINTS: Readonly<Record<string, string>> = { well: '#ffffff', slow: '#fff3d6', dead: '#fde0dc', back: '#e6f4e6' }

function phaseMarks({ phasesAtMs }: Run, endS: number): object {
  return {
    silent: true,
    label: { position: 'insideTop', color: '#666666' },
    data: phasesAtMs.map((atMs, index) => [
      { name: `model ${names[index]}`, xAxis: atMs / 1000, itemStyle: { color: TINTS[names[index]!]! } },
      { xAxis: (phasesAtMs[index + 1] ?? endS * 1000) / 1000 },
    ]),
  }
}

function linesOf({ samples }: Run): Line[] {
  const of = (tool: Tool): Sample[] => samples.filter((sample) => sample.tool === tool)
  return [
    { name: 'add, p99', color: '#4c78a8', points: points(of('add'), 0.99) },
    { name: 'lookup (5 ms), p99', color: '#59a14f', points: points(of('lookup'), 0.99) },
    { name: 'answer (asks the model), p50', color: '#e45756', points: points(of('answer'), 0.5) },
  ]
}

function points(samples: readonly Sample[], share: number): (readonly [number, number])[] {
  const steps = Map.groupBy(samples, ({ atMs }) => Math.floor(atMs / stepMs))
  return [...steps]
    .sort(([a], [b]) => a - b)
    .map(([step, inIt]) => {
      const sorted = inIt.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b)
      const ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
      return [((step + 0.5) * stepMs) / 1000, Math.max(leastMs, ms)] as const
    })
}
