/** What this machine is, in the words that Kubernetes uses for it. */
import { readFileSync } from 'node:fs';
import { arch } from 'node:os';

/** `amd64` for what Node calls x64. */
export const goArch = (): string => ({ x64: 'amd64', ia32: '386' })[arch() as string] ?? arch();

/** PRETTY_NAME of os-release(5). */
export function osImage(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}
