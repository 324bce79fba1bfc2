// The fixture with settings that show quickly what else takes many tools, or many seconds.
export { default } from './fixture.ts'
export const options = {
  listPageSize: 4,
  quietMs: 100,
  keepAliveMs: 100,
  sessions: 'optional',
  maxStreamsPerPrincipal: 8,
}
