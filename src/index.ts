export type { ApiKeyEntry } from './auth/api-keys.ts'
export type { IntrospectionOptions } from './auth/introspection.ts'
export type { AuthOptions, AuthRequest } from './auth/options.ts'
export type { Artifact, ArtifactData, ArtifactOptions, ContextArtifacts } from './define/artifact.ts'
export type {
  Asking,
  ElicitAnswer,
  ElicitOptions,
  ElicitUrlOptions,
  Need,
  Root,
  SampleAnswer,
  SampleOptions,
  SamplingContent,
  SamplingMessage,
} from './define/ask.ts'
export type { CacheOptions, ResourceCacheOptions, ToolCacheOptions } from './define/cache.ts'
export { content } from './define/content.ts'
export type {
  Annotations,
  AudioContent,
  ContentBlock,
  EmbeddedResource,
  Icon,
  ImageContent,
  PromptMessage,
  ResourceContents,
  ResourceLink,
  TextContent,
  ToolResult,
} from './define/content.ts'
export type { Client, Context, ContextLog, ContextTasks, LogLevel, Notify, Principal } from './define/context.ts'
export type { RequestLimit, ToolLimit } from './define/limits.ts'
export type {
  BreakerOptions,
  BulkheadOptions,
  Dependency,
  DependencyOptions,
  ResolvedDependency,
  RetryBudgetOptions,
  RetryOptions,
  Use,
  UseOptions,
  Work,
} from './define/dependency.ts'
export { definePrompt } from './define/prompt.ts'
export type { PromptArgument, PromptDefinition, PromptOptions, PromptReturn } from './define/prompt.ts'
export { defineResource } from './define/resource.ts'
export type {
  Complete,
  ListedResource,
  ResourceDefinition,
  ResourceReturn,
  StaticResourceOptions,
  TemplateResourceOptions,
  TemplateVariables,
} from './define/resource.ts'
export { jsonSchema } from './define/schema.ts'
export type { JsonSchema, JsonSchemaOf, Schema } from './define/schema.ts'
export { defineServer } from './define/server.ts'
export type { ServerDefinition, ServerOptions } from './define/server.ts'
export type { TaskOptions } from './define/task.ts'
export { defineTool } from './define/tool.ts'
export { defineTrigger } from './define/trigger.ts'
export type { Schedule } from './define/schedule.ts'
export type {
  MessageTriggerOptions,
  ScheduleTriggerOptions,
  TriggerDefinition,
  TriggerMessage,
} from './define/trigger.ts'
export type { ToolAnnotations, ToolDefinition, ToolOptions, ToolReturn } from './define/tool.ts'
export { HoldfastError, protocolError, toolError } from './errors/holdfast-error.ts'
export type { ProtocolErrorOptions, ToolError } from './errors/holdfast-error.ts'
export { ERRORS } from './errors/table.ts'
export type { ErrorCode, ErrorEntry } from './errors/table.ts'
export type { JsonObject, Revision } from './kernel/protocol.ts'
export type { TaskStatus, TaskWatcher } from './kernel/task-engine.ts'
export type {
  ArtifactInfo,
  ArtifactStore,
  ByteRange,
  ListedArtifact,
  PutOptions,
  StoredArtifact,
} from './ports/artifact-store.ts'
export type { Clock } from './ports/clock.ts'
export type { EventBus, Unsubscribe } from './ports/event-bus.ts'
export type {
  AppendOptions,
  AppendResult,
  BucketState,
  ReadResult,
  StateStore,
  TokenBucket,
  TokensTaken,
} from './ports/state-store.ts'
export type { QueueListener, TaskQueue } from './ports/task-queue.ts'
export type {
  ClaimedTask,
  ClaimRequest,
  DeadReason,
  JournalEntry,
  NewTask,
  ParkUntil,
  QueueBacklog,
  StepRecord,
  SweepOptions,
  SweepReport,
  Task,
  TaskAdmin,
  TaskAsk,
  TaskEnd,
  TaskFilter,
  TaskState,
  TaskStore,
} from './ports/task-store.ts'
export type { LimitOverride } from './limits/compiled-limit.ts'
export type { LimitFacts, OverrideLimits } from './limits/overrides.ts'
export { ResponseError } from './resilience/classify.ts'
export { defineDependency } from './resilience/dependency.ts'
export type { BreakerState } from './resilience/breaker.ts'
export type { DependencyState } from './resilience/guards.ts'
export type { TaskEvent } from './tasks/task-events.ts'
export type { TaskInfo } from './tasks/task-info.ts'
export type { FetchHandler } from './transports/http/fetch-handler.ts'
export type { NodeHandler } from './transports/http/node-handler.ts'
export { createRuntime } from './compose/runtime.ts'
export type { Listening, Runtime, RuntimeCache, RuntimeDependencies } from './compose/runtime-types.ts'
export type { RuntimeOptions } from './compose/options.ts'
export type { CreateTaskOptions, RuntimeTasks } from './compose/tasks.ts'
export type { WorkerOptions } from './compose/worker-options.ts'
