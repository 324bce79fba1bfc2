/** The same object with some methods in place of its own. */
export function other<T extends object>(original: T, changed: Partial<T>): T {
  return new Proxy(original, {
    get(target, name) {
      const method = (changed as Record<PropertyKey, unknown>)[name] ?? (Reflect.get(target, name, target) as unknown)
      return typeof method === 'function' ? (method.bind(target) as unknown) : method
    },
  })
}
