import { defineResource } from 'holdfast'
import { RED_PIXEL_PNG } from './media.ts'

/** Text is sent as it is. */
export const staticText = defineResource({
  uri: 'test://static-text',
  name: 'static-text',
  description: 'A text that never changes, the same for everybody',
  mimeType: 'text/plain',
  ttlMs: 3_600_000,
  cacheScope: 'public',
  read: () => 'This is the content of the static text resource.',
})

/** Bytes are sent as base64. */
export const staticBinary = defineResource({
  uri: 'test://static-binary',
  name: 'static-binary',
  description: 'A picture of one red pixel',
  mimeType: 'image/png',
  read: () => Buffer.from(RED_PIXEL_PNG, 'base64'),
})

/** Clients may ask to be told when a resource changes. */
export const watched = defineResource({
  uri: 'test://watched-resource',
  name: 'watched-resource',
  description: 'A resource to subscribe to; the tool test_trigger_resource_update announces a change',
  mimeType: 'text/plain',
  read: () => 'This resource can be watched.',
})

/** One definition for a whole family of URIs; the variables arrive as arguments, and clients may ask to complete them. */
export const template = defineResource({
  uriTemplate: 'test://template/{id}/data',
  name: 'template-data',
  description: 'The data of one id',
  mimeType: 'application/json',
  complete: { id: (typed) => ['123', '124', '200'].filter((id) => id.startsWith(typed)) },
  read: ({ id }) => JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
})
