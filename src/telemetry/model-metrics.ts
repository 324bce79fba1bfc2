import type { ModelUse } from '../ports/telemetry.ts'

/** A counter with its labels, as a registry renders it. */
export interface CounterFamily {
  readonly name: string
  readonly help: string
  values(): { readonly labels: Readonly<Record<string, string>>; readonly value: number }[]
}

/** Models that have labels of their own; more are counted together, since names may come from outside. */
const MAX_MODELS = 100
const OTHERS = '_other'

class Sums implements CounterFamily {
  readonly name: string
  readonly help: string
  readonly #sums = new Map<string, { labels: Readonly<Record<string, string>>; value: number }>()

  constructor(name: string, help: string) {
    this.name = name
    this.help = help
  }
  add(labels: Readonly<Record<string, string>>, by: number): void {
    if (by === 0) return
    const key = JSON.stringify(Object.values(labels))
    const sum = this.#sums.get(key)
    if (sum === undefined) this.#sums.set(key, { labels, value: by })
    else sum.value += by
  }
  values(): ReturnType<CounterFamily['values']> {
    return [...this.#sums.values()]
  }
}

/** What language and embedding models were called for, and what was spared. */
export class ModelMetrics {
  readonly #calls = new Sums('holdfast_llm_calls_total', 'Calls of models, by what became of them.')
  readonly #tokens = new Sums(
    'holdfast_llm_tokens_total',
    'Tokens that models used, or (cached, waited) that a call was spared.',
  )
  readonly #cost = new Sums(
    'holdfast_llm_cost_total',
    'What models cost by your prices, or (cached, waited) what a call was spared.',
  )
  readonly #saved = new Sums('holdfast_llm_saved_seconds_total', 'Time of models that calls were spared.')
  readonly #models = new Set<string>()
  readonly families: readonly CounterFamily[] = [this.#calls, this.#tokens, this.#cost, this.#saved]

  used({ operation, model: id, outcome, inputTokens, outputTokens, cost, seconds }: ModelUse): void {
    const model = this.#label(id)
    this.#calls.add({ model, operation, outcome }, 1)
    const isSpared = outcome === 'cached' || outcome === 'waited'
    const source = isSpared ? outcome : 'model'
    this.#tokens.add({ model, kind: 'input', source }, inputTokens)
    this.#tokens.add({ model, kind: 'output', source }, outputTokens)
    if (cost !== undefined) this.#cost.add({ model, currency: cost.currency, source }, cost.amount)
    if (isSpared) this.#saved.add({ model }, seconds)
  }

  #label(model: string): string {
    if (!this.#models.has(model)) {
      if (this.#models.size >= MAX_MODELS) return OTHERS
      this.#models.add(model)
    }
    return model
  }
}
