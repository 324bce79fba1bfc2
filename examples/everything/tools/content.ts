import { content, defineTool, toolError } from 'holdfast'
import { RED_PIXEL_PNG, silentWav } from '../media.ts'

/** A string becomes one text block. */
export const simpleText = defineTool({
  name: 'test_simple_text',
  description: 'Returns one text block',
  run: () => 'This is a simple text response for testing.',
})

/** Pictures are given as bytes or as base64. */
export const image = defineTool({
  name: 'test_image_content',
  description: 'Returns a picture of one red pixel',
  run: () => content.image(RED_PIXEL_PNG, 'image/png'),
})

/** Sounds likewise. */
export const audio = defineTool({
  name: 'test_audio_content',
  description: 'Returns a twentieth of a second of silence',
  run: () => content.audio(silentWav(50), 'audio/wav'),
})

/** A resource can travel inside a result, instead of being linked to. */
export const embeddedResource = defineTool({
  name: 'test_embedded_resource',
  description: 'Returns a resource inside the result',
  run: () => content.resource('test://embedded-resource', 'This is an embedded resource content.', 'text/plain'),
})

/** An array of blocks is sent in its order. */
export const mixedContent = defineTool({
  name: 'test_multiple_content_types',
  description: 'Returns text, a picture and a resource in one result',
  run: () => [
    content.text('Multiple content types test:'),
    content.image(RED_PIXEL_PNG, 'image/png'),
    content.resource('test://mixed-content-resource', JSON.stringify({ test: 'data', value: 123 }), 'application/json'),
  ],
})

/** `toolError` makes an error that the model reads: a result with `isError: true`. */
export const failing = defineTool({
  name: 'test_error_handling',
  description: 'Always fails with an error for the model',
  run() {
    throw toolError('This tool intentionally returns an error for testing')
  },
})
