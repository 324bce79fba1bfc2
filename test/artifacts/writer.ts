// Writes an artifact that never ends, and says when a good part of it is written: to be killed, or to fill a disk.
import { systemClock } from '../../src/ports/clock.ts'
import { openArtifactStore } from '../../src/compose/artifacts.ts'

const [url = '', mebibytes = ''] = process.argv.slice(2)
const store = await openArtifactStore(url, systemClock)
const block = Buffer.alloc(1024 * 1024, 'x')
async function* endless() {
  for (let written = 1; ; written++) {
    yield block
    if (written === Number(mebibytes)) console.log('written')
  }
}
try {
  console.log(JSON.stringify(await store.put('kill/mid-upload', endless(), { maxBytes: 1e12 })))
} catch (error) {
  console.log((error as Error).message)
}
