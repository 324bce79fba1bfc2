import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { isFileUrl, parseFileUrl } from '../backends/filesystem/url.ts'
import { isS3Url, parseS3Url } from '../backends/s3/url.ts'
import { openArtifactStore } from '../compose/artifacts.ts'
import { HoldfastError } from '../errors/holdfast-error.ts'
import { systemClock } from '../ports/clock.ts'
import { artifactStoreContract, artifactStoreFaultContract } from '../testing/index.ts'
import { makeThrowawayFolder } from './throwaway-folder.ts'
import type { Verification } from './verify-tasks.ts'

/**
 * What there is to run for a store of artifacts; `undefined` where the URL names none.
 * @throws {HoldfastError} `invalid_option` for a URL that can't be used, `backend_failed` where nothing answers.
 */
export async function artifactsVerificationOf(url: string): Promise<Verification | undefined> {
  if (isFileUrl(url)) return ofFolder(url)
  if (isS3Url(url)) return ofBucket(url)
  return undefined
}

/** Segments of keys have no dots: who uses the store meanwhile sees nothing of it. */
const throwawayName = (): string => `.verify-${randomBytes(4).toString('hex')}`

/** A folder of its own within the one named, which may be where another disk is mounted. */
async function ofFolder(url: string): Promise<Verification> {
  const own = makeThrowawayFolder(join(resolve(parseFileUrl(url)), throwawayName()))
  return {
    declare: declareFor(`file:${own.path.split('/').map(encodeURIComponent).join('/')}`, url),
    [Symbol.asyncDispose]: async () => own[Symbol.dispose](),
  }
}

/** A prefix of its own below the one named. */
async function ofBucket(url: string): Promise<Verification> {
  const { prefix, shown } = parseS3Url(url)
  const own = url.replace(/^(s3:\/\/[^/?]+)[^?]*/, `$1/${prefix}${throwawayName()}`)
  const probe = await openArtifactStore(own, systemClock)
  try {
    await probe.list('')
  } catch (error) {
    const { message, cause } = error as Error
    const reason = cause instanceof Error ? ` (${cause.message})` : ''
    throw new HoldfastError('backend_failed', `${shown} can't be verified: ${message}${reason}`, { cause: error })
  } finally {
    await probe.close()
  }
  return {
    declare: declareFor(own, shown),
    async [Symbol.asyncDispose]() {
      const store = await openArtifactStore(own, systemClock)
      try {
        for (let cursor: string | undefined, isMore = true; isMore; isMore = cursor !== undefined) {
          const page = await store.list('', cursor)
          await store.delete(page.objects.map(({ key }) => key))
          cursor = page.cursor
        }
        await store.clearUploads(0)
      } finally {
        await store.close()
      }
    },
  }
}

function declareFor(url: string, shown: string): Verification['declare'] {
  const create = async () => {
    const [store, there] = await Promise.all([openArtifactStore(url, systemClock), openArtifactStore(url, systemClock)])
    return { store, there }
  }
  return (runner) => {
    artifactStoreContract(runner, shown, create)
    artifactStoreFaultContract(runner, shown, create)
  }
}
