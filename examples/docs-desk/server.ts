// Docs desk: run it with `npm start`, or `npx holdfast serve examples/docs-desk/server.ts`.
import { openDocsDesk } from './docs-desk.ts'
import { defineDocsDeskServer } from './server-definition.ts'
import { readSettings } from './settings.ts'

// Read at start, so that a wrong setting is told at once.
const settings = readSettings(process.env)

export default defineDocsDeskServer(() => openDocsDesk(settings), settings)
