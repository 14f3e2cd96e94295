/**
 * Holds what npm installed to package-lock.json: every package that is there is the locked one (version and digest),
 * and nothing that must be there is missing. `npm ci` would do that, but it refuses a lock without the
 * packages of other platforms, which not every registry has.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly optional?: boolean;
  readonly peer?: boolean;
}

const root = resolve(import.meta.dirname, '..');
const read = (path: string) =>
  (JSON.parse(readFileSync(join(root, path), 'utf8')) as { packages: Record<string, Locked> }).packages;

const { '': _, ...locked } = read('package-lock.json');
const installed = read('node_modules/.package-lock.json');

const wrong = Object.entries(installed).flatMap(([path, { version, integrity }]) => {
  const wanted = locked[path];
  if (!wanted) return [`${path}@${version} is not in package-lock.json`];
  if (version === wanted.version && integrity === wanted.integrity) return [];
  return [`${path} is ${version} (${integrity}), locked is ${wanted.version} (${wanted.integrity})`];
});
const missing = Object.entries(locked)
  .filter(([path, { optional, peer }]) => !installed[path] && !optional && !peer)
  .map(([path, { version }]) => `${path}@${version} is missing`);

for (const line of [...wrong, ...missing]) process.stderr.write(`${line}\n`);
process.exitCode = wrong.length + missing.length > 0 ? 1 : 0;
