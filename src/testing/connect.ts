export function connect(): void {}
