import { serveRequests } from '../workers/serve-requests.ts'
import { readDocument } from './read-document.ts'

serveRequests(readDocument)
