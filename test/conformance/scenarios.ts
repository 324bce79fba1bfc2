/** The revisions whose requirement sets the suite holds. */
export const REVISIONS = ['2026-07-28', '2025-11-25'] as const
/** One of {@link REVISIONS}. */
export type Revision = (typeof REVISIONS)[number]

/** A scenario that is run, and what must be seen in it. */
export interface Scenario {
  readonly name: string
  /**
   * Ids of checks that must be among the passed ones. For scenarios that would report a missing feature as mere
   * information, and so pass without having tested anything.
   */
  readonly mustPass?: readonly string[]
  /** The suite has only the name of it, and reports that it skips it. Once it has a check the mark must go. */
  readonly isStub?: true
}

/** A scenario that is not run, and why. */
export interface NotRun {
  readonly name: string
  readonly reason: string
}

const BOTH: readonly Scenario[] = [
  { name: 'completion-complete' },
  { name: 'tools-list', mustPass: ['tools-name-format'] },
  { name: 'tools-call-simple-text' },
  { name: 'tools-call-image' },
  { name: 'tools-call-audio' },
  { name: 'tools-call-embedded-resource' },
  { name: 'tools-call-mixed-content' },
  { name: 'tools-call-error' },
  { name: 'tools-call-with-progress' },
  { name: 'server-sse-multiple-streams' },
  { name: 'resources-list' },
  { name: 'resources-read-text' },
  { name: 'resources-read-binary' },
  { name: 'resources-templates-read' },
  { name: 'prompts-list' },
  { name: 'prompts-get-simple' },
  { name: 'prompts-get-with-args' },
  { name: 'prompts-get-embedded-resource' },
  { name: 'prompts-get-with-image' },
  { name: 'dns-rebinding-protection' },
  { name: 'json-schema-2020-12' },
]

/** What is run for each revision. */
export const RUN: Readonly<Record<Revision, readonly Scenario[]>> = {
  '2026-07-28': [
    ...BOTH,
    { name: 'sep-2164-resource-not-found' },
    { name: 'caching', mustPass: ['sep-2549-resources-read-caching-hints'] },
    { name: 'http-header-validation' },
    { name: 'http-custom-header-server-validation', mustPass: ['sep-2243-server-decode-base64'] },
    { name: 'server-stateless', mustPass: ['sep-2575-server-rejects-undeclared-capability'] },
    { name: 'input-required-result-unsupported-methods' },
    { name: 'input-required-result-basic-elicitation' },
    { name: 'input-required-result-basic-sampling' },
    { name: 'input-required-result-basic-list-roots' },
    { name: 'input-required-result-request-state' },
    { name: 'input-required-result-multiple-input-requests' },
    { name: 'input-required-result-multi-round' },
    { name: 'input-required-result-missing-input-response' },
    { name: 'input-required-result-non-tool-request' },
    { name: 'input-required-result-result-type' },
    { name: 'input-required-result-tampered-state' },
    { name: 'input-required-result-capability-check' },
    { name: 'input-required-result-ignore-extra-params' },
    { name: 'input-required-result-validate-input' },
    { name: 'tasks-lifecycle', mustPass: ['sep-2663-tasks-get-status-completed', 'sep-2663-tasks-get-status-failed'] },
    { name: 'tasks-capability-negotiation', mustPass: ['tasks-extension-advertised', 'tasks-per-request-meta-opt-in'] },
    { name: 'tasks-wire-fields', mustPass: ['tasks-no-early-ttl-expiry'] },
    { name: 'tasks-request-state-removal', mustPass: ['tasks-get-detailed-no-request-state'] },
    { name: 'tasks-mrtr-input', mustPass: ['tasks-mrtr-partial-fulfillment'] },
    { name: 'tasks-request-headers', mustPass: ['sep-2663-server-rejects-mismatched-mcp-name-on-tasks-get'] },
    { name: 'tasks-dispatch-and-envelope', mustPass: ['sep-2663-durable-create-strong-consistency'] },
    { name: 'tasks-required-task-error', mustPass: ['sep-2663-server-returns-missing-capability-data-shape'] },
    { name: 'tasks-mrtr-composition', mustPass: ['sep-2663-mrtr-synchronous-before-task-creation'] },
    // Tested in test/tasks/wire-listen.test.ts and test/tasks/notifications.test.ts.
    { name: 'tasks-status-notifications', isStub: true },
  ],
  '2025-11-25': [
    ...BOTH,
    { name: 'server-initialize', mustPass: ['server-session-id-visible-ascii'] },
    { name: 'server-session-lifecycle', mustPass: ['server-session-terminated-returns-404'] },
    { name: 'server-sse-polling', mustPass: ['server-sse-priming-event', 'server-sse-disconnect-resume'] },
    { name: 'ping' },
    { name: 'logging-set-level' },
    { name: 'tools-call-with-logging' },
    { name: 'resources-subscribe' },
    { name: 'resources-unsubscribe' },
    { name: 'tools-call-sampling' },
    { name: 'tools-call-elicitation' },
    { name: 'elicitation-sep1034-defaults' },
    { name: 'elicitation-sep1330-enums' },
  ],
}

const because = (reason: string, names: readonly string[]): NotRun[] => names.map((name) => ({ name, reason }))

/**
 * What is not run. Together with {@link RUN} it names every server scenario of the suite, which a test holds, so that a
 * new release of the suite can't bring one that goes unnoticed.
 */
export const NOT_RUN: Readonly<Record<Revision, readonly NotRun[]>> = {
  '2026-07-28': [
    ...because('the skills extension is not offered', [
      'sep-2640-skills-directory',
      'sep-2640-skills-enumeration',
      'sep-2640-skills-manifest',
    ]),
  ],
  '2025-11-25': [],
}
