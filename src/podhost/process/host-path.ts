/** Volumes of kind hostPath, where `heddle up --allow-host` lets pods have them: made and checked as a kubelet does. */
import type { Stats } from 'node:fs';
import { chmod, mkdir, open, stat } from 'node:fs/promises';
import type { Pod } from '../../api/types.ts';
import { ConfigError } from './environment.ts';

type Volume = NonNullable<NonNullable<Pod['spec']>['volumes']>[number];
type HostPath = NonNullable<Volume['hostPath']>;

const KINDS: Readonly<Record<string, [words: string, holds: (found: Stats) => boolean]>> = {
  Directory: ['directory', (found) => found.isDirectory()],
  DirectoryOrCreate: ['directory', (found) => found.isDirectory()],
  File: ['file', (found) => found.isFile()],
  FileOrCreate: ['file', (found) => found.isFile()],
  Socket: ['socket file', (found) => found.isSocket()],
};

/** What cannot be asked for, in words. */
export function hostPathProblem({ name, hostPath }: Volume): string | undefined {
  if (!hostPath) return undefined;
  const { path, type } = hostPath;
  if (!path.startsWith('/')) return `volume ${name}: hostPath ${path} is not an absolute path`;
  if (path.split('/').includes('..')) return `volume ${name}: hostPath ${path} must not contain '..'`;
  // No container here may open one.
  if (type === 'CharDevice' || type === 'BlockDevice') return `volume ${name}: hostPath of type ${type}`;
  if (type && !Object.hasOwn(KINDS, type))
    return `volume ${name}: hostPath of type ${type}; expected one of ${Object.keys(KINDS).join(', ')}`;
  return undefined;
}

/** Without a type, a folder that is missing is made, as container runtimes do it. @throws ConfigError as a kubelet says it */
export async function prepareHostPath({ path, type = '' }: HostPath): Promise<void> {
  const found = await look(path);
  if (!found && (type === '' || type === 'DirectoryOrCreate')) {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await chmod(path, 0o755);
    return;
  }
  if (!found && type === 'FileOrCreate') {
    const file = await open(path, 'a', 0o644);
    return file.close();
  }
  const [words, holds] = KINDS[type] ?? ['', () => true];
  if (!found || !holds(found)) throw new ConfigError(`hostPath type check failed: ${path} is not a ${words}`);
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
