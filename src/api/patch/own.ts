import type { Json } from '../json.ts';

/** Sets a member whatever its name: a plain assignment to `__proto__` would change the prototype. */
export function setOwn(target: Record<string, Json>, key: string, value: Json): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  else target[key] = value;
}
