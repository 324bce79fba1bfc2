// A certificate authority and a server's certificate, for the loopback address and for a day.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './tools.ts'

const TIMEOUT_MS = 20_000

/**
 * Makes an authority and a certificate signed by it in a folder. `ca` is the authority's PEM.
 * @throws Error where there is no `openssl`.
 */
export async function certificates(
  dir: string,
): Promise<{ ca: string; caFile: string; certFile: string; keyFile: string }> {
  const [caFile, caKey, certFile, keyFile, request, extensions] = [
    'ca.pem',
    'ca.key',
    'server.pem',
    'server.key',
    'server.csr',
    'server.ext',
  ].map((name) => join(dir, name)) as [string, string, string, string, string, string]
  const openssl = (...args: string[]): Promise<string> => run('openssl', args, { timeoutMs: TIMEOUT_MS })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await openssl('req', '-x509', ...key, '-days', '1', '-subj', '/CN=Test authority', '-keyout', caKey, '-out', caFile)
  await openssl('req', ...key, '-subj', '/CN=localhost', '-keyout', keyFile, '-out', request)
  await writeFile(extensions, 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  await openssl(
    'x509',
    '-req',
    '-in',
    request,
    '-CA',
    caFile,
    '-CAkey',
    caKey,
    '-CAcreateserial',
    '-days',
    '1',
    '-extfile',
    extensions,
    '-out',
    certFile,
  )
  return { ca: await readFile(caFile, 'utf8'), caFile, certFile, keyFile }
}
