import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for what will be, and says what was instead when it does not come. */
export async function until<T>(
  what: string,
  read: () => T | Promise<T>,
  isIt: (value: T) => boolean = Boolean,
  timeoutMs = 120_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (isIt(value)) return value;
    if (performance.now() > end)
      throw new Error(`waited in vain for ${what}: ${JSON.stringify(value, bigintText)}`);
    await sleep(50);
  }
}

const bigintText = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
