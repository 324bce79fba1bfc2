// One of everything that a server can offer, and what the official conformance suite expects to find.
// Run it with `npx holdfast serve examples/everything/server.ts`.
import { defineServer } from 'holdfast'
import * as prompts from './prompts.ts'
import * as resources from './resources.ts'
import * as askingTools from './tools/asking.ts'
import * as contentTools from './tools/content.ts'
import * as schemaTools from './tools/schemas.ts'
import * as streamingTools from './tools/streaming.ts'
import * as taskTools from './tools/tasks.ts'

export default defineServer({
  name: 'everything',
  title: 'Everything',
  version: '1.0.0',
  description: 'Shows each kind of tool, resource and prompt once',
  instructions: 'Call any tool to see one feature of the protocol; nothing here has side effects.',
  tools: [
    // The conformance suite calls the first tool without arguments.
    contentTools.simpleText,
    contentTools.image,
    contentTools.audio,
    contentTools.embeddedResource,
    contentTools.mixedContent,
    contentTools.failing,
    schemaTools.add,
    schemaTools.fullVocabulary,
    schemaTools.headerParameter,
    streamingTools.progress,
    streamingTools.logging,
    streamingTools.loggingOnce,
    streamingTools.reconnection,
    streamingTools.toolChange,
    streamingTools.promptChange,
    streamingTools.resourceUpdate,
    ...Object.values(askingTools),
    ...Object.values(taskTools),
  ],
  resources: [resources.staticText, resources.staticBinary, resources.watched, resources.template],
  prompts: [prompts.simple, prompts.withArguments, prompts.withEmbeddedResource, prompts.withImage, prompts.asking],
})
