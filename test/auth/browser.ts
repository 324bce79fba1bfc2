/** Follows redirects as a browser does, with cookies, until it is sent to the client's own page; returns that URL. */
export async function browse(from: URL, until: string): Promise<URL> {
  const cookies = new Map<string, string>()
  let url = from
  for (let hops = 0; hops < 20; hops++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, { headers: { cookie }, redirect: 'manual' })
    const text = await response.text()
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      if (value === '') cookies.delete(name!)
      else cookies.set(name!, value!)
    }
    const location = response.headers.get('location')
    if (location === null) throw new Error(`${url.href} answered ${response.status}: ${text}`)
    url = new URL(location, url)
    if (url.href.startsWith(until)) return url
  }
  throw new Error(`${from.href} redirects without end.`)
}
