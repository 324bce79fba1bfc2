const CELLS = 30
/** More often nobody sees. */
const EVERY_MS = 50

/** Where a bar goes: standard error, so that what is printed stays whole. */
interface Terminal {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** A progress bar on a terminal; nothing where there is none. */
export class Progress {
  readonly #what: string
  readonly #total: number
  readonly #terminal: Terminal
  #shownMs = -Infinity

  constructor(what: string, total: number, terminal: Terminal = process.stderr) {
    this.#what = what
    this.#total = total
    this.#terminal = terminal
  }

  /** @param done how many of all */
  update(done: number): void {
    const nowMs = performance.now()
    if (this.#terminal.isTTY !== true || (done < this.#total && nowMs - this.#shownMs < EVERY_MS)) return
    this.#shownMs = nowMs
    const share = this.#total === 0 ? 1 : done / this.#total
    const full = Math.floor(share * CELLS)
    const bar = '█'.repeat(full) + '░'.repeat(CELLS - full)
    this.#terminal.write(`\r${this.#what} ${bar} ${done}/${this.#total} ${Math.floor(share * 100)} %`)
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#terminal.isTTY === true) this.#terminal.write('\r\u001b[K')
  }
}
