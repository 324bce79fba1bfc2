/** What a challenge says besides where to find the authorization server (RFC 6750, 3.1). */
export type ChallengeError = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

/** Makes `WWW-Authenticate` headers: `Bearer` with what a client needs to get a token that will do. */
export class Challenger {
  readonly #metadataUrl: string | undefined
  readonly #scopes: readonly string[]

  /**
   * @param metadataUrl where the protected-resource metadata is served (RFC 9728, 5.1); none without an authorization server.
   * @param scopes what every caller needs.
   */
  constructor(metadataUrl: string | undefined, scopes: readonly string[]) {
    this.#metadataUrl = metadataUrl
    this.#scopes = scopes
  }

  /**
   * All scopes of an operation go into one challenge: naming them one after the other would send a person through as many
   * consents (MCP 2026-07-28, authorization, "Runtime Insufficient Scope Errors").
   *
   * @param description a sentence of our own.
   */
  header(error?: ChallengeError, description?: string, scopes: readonly string[] = []): Record<string, string> {
    const needed = [...new Set([...this.#scopes, ...scopes])].join(' ')
    const parameters = [
      ...(error === undefined ? [] : [`error="${error}"`]),
      ...(description === undefined ? [] : [`error_description="${quotable(description)}"`]),
      ...(needed === '' ? [] : [`scope="${needed}"`]),
      ...(this.#metadataUrl === undefined ? [] : [`resource_metadata="${this.#metadataUrl}"`]),
    ]
    return { 'www-authenticate': parameters.length === 0 ? 'Bearer' : `Bearer ${parameters.join(', ')}` }
  }
}

/** What a description may hold (RFC 6750, 3). */
const quotable = (text: string): string => text.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")
