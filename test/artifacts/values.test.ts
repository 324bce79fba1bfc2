import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Artifacts } from '../../src/artifacts/artifacts.ts'
import { artifactsNamedIn, keyOfUri, newArtifactKey, readKey, sealTask, uriOfKey } from '../../src/artifacts/keys.ts'
import { openFileArtifacts } from '../../src/backends/filesystem/artifact-store.ts'
import { ANONYMOUS } from '../../src/define/context.ts'
import { HoldfastError } from '../../src/errors/holdfast-error.ts'
import { createKeyRing, generateKeys } from '../../src/kernel/key-ring.ts'
import { ownerOf } from '../../src/kernel/owner.ts'
import { isArtifactKey } from '../../src/ports/artifact-store.ts'
import { systemClock } from '../../src/ports/clock.ts'

const parts = {
  maxArtifactBytes: 1000,
  keys: createKeyRing(generateKeys()),
  clock: systemClock,
  endpoint: () => undefined,
  onUsed: () => undefined,
}
let dir: string
let artifacts: Artifacts
let opened = 0
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-artifacts-'))
  opened = 0
  artifacts = new Artifacts({
    ...parts,
    async open() {
      opened++
      return openFileArtifacts(`file:${dir}`, systemClock)
    },
  })
})
afterEach(async () => {
  await artifacts.close()
  rmSync(dir, { recursive: true })
})
const place = { owner: ownerOf(ANONYMOUS), taskId: randomUUID(), fence: 7 }
const artifactPlace = { owner: place.owner, sealedTask: sealTask(parts.keys, place.taskId), fence: 7 }

test('a value of a task is read back by its key, which names the owner, the task and the fence', async () => {
  const value = Buffer.alloc(300_000, 'x')
  const key = await artifacts.putValue(place, value)
  expect(key).toMatch(new RegExp(`^value/${place.owner}/${place.taskId}/7/[\\w-]{22}$`))
  expect(readKey(key, parts.keys)).toEqual({ kind: 'value', owner: place.owner, taskId: place.taskId, fence: 7 })
  expect(Buffer.from(await artifacts.getValue(key))).toEqual(value)
  expect(Buffer.from(await artifacts.getValue(await artifacts.putValue(place, Buffer.alloc(0))))).toEqual(
    Buffer.alloc(0),
  )
})

test('a value that is gone, and a key of something else, are errors that name the key', async () => {
  const key = await artifacts.putValue(place, Buffer.from('x'))
  await (await artifacts.store()).delete([key])
  await expect(artifacts.getValue(key)).rejects.toThrow(key)
  const artifact = await artifacts.put(artifactPlace, 'x', { name: 'x', mimeType: 'text/plain' })
  await expect(artifacts.getValue(artifact.key)).rejects.toThrow(HoldfastError)
})

test('neither the key nor the URI of a task’s artifact shows the task, which whoever has the ring reads from it', () => {
  const { owner, taskId } = place
  const key = newArtifactKey(artifactPlace)
  const uri = uriOfKey(key)
  expect(keyOfUri(uri, owner)).toBe(key)
  for (const shown of [key, uri])
    for (const part of [taskId, taskId.replaceAll('-', ''), Buffer.from(taskId).toString('base64url').slice(0, 10)])
      expect(shown).not.toContain(part)
  expect(sealTask(parts.keys, taskId)).not.toBe(artifactPlace.sealedTask)
  expect(readKey(key, parts.keys)).toEqual({ kind: 'task', owner, taskId, fence: 7 })
  expect(readKey(key, createKeyRing(generateKeys()))).toBeUndefined()
  expect(readKey(key.replace(/\/7\//, 'x/7/'), parts.keys)).toBeUndefined()
})

test('with the longest id of a ring’s key its URI is found, too', () => {
  const keys = createKeyRing(generateKeys('12345678'))
  const key = newArtifactKey({ ...artifactPlace, sealedTask: sealTask(keys, place.taskId) })
  expect(keyOfUri(uriOfKey(key), place.owner)).toBe(key)
  expect(isArtifactKey(key)).toBe(true)
})

test('no URI leads to a value of a task', async () => {
  const key = await artifacts.putValue(place, Buffer.from('x'))
  expect(keyOfUri(uriOfKey(key), place.owner)).toBeUndefined()
})

test('nothing is opened or made before it is needed, and an opening that failed is tried again', async () => {
  expect(readdirSync(dir)).toEqual([])
  expect(opened).toBe(0)
  let attempts = 0
  const unlucky = new Artifacts({
    ...parts,
    async open() {
      if (++attempts === 1) throw new HoldfastError('backend_failed', 'Not now.')
      return openFileArtifacts(`file:${dir}`, systemClock)
    },
  })
  await expect(unlucky.store()).rejects.toThrow('Not now.')
  await unlucky.store()
  await unlucky.close()
  await expect(unlucky.store()).rejects.toThrow('after close')
})

test('the artifacts that a record names are found wherever their URIs stand, once each, as keys of the owner', () => {
  const task = newArtifactKey(artifactPlace)
  const call = newArtifactKey({ owner: place.owner, requestId: 'n0de-1a' })
  const json = JSON.stringify({
    content: [
      { type: 'resource_link', uri: uriOfKey(task) },
      { type: 'text', text: `See ${uriOfKey(call)}, or (${uriOfKey(task)}).` },
    ],
    other: `holdfast://artifact/ holdfast://artifact/value/x/1/${'x'.repeat(22)} holdfast://artifact/task/../../etc`,
  })
  expect(artifactsNamedIn(json, place.owner).toSorted()).toEqual([call, task])
  expect(artifactsNamedIn(json, 'another').toSorted()).toEqual(
    [call, task].map((key) => key.replace(place.owner, 'another')),
  )
  expect(artifactsNamedIn('{}', place.owner)).toEqual([])
})
