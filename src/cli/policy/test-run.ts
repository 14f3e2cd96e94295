/** `heddle policy` in this process, for tests. */
import { PassThrough, Readable } from 'node:stream';
import type { CliDeps } from '../deps.ts';
import { main } from '../main.ts';

export interface Run {
  code: number;
  out: string;
  err: string;
}

export async function run(args: readonly string[], input = ''): Promise<Run> {
  const before = process.exitCode;
  process.exitCode = undefined;
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { out: '', err: '' };
  stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  const deps: CliDeps = {
    stdin: Readable.from([input]),
    stdout,
    stderr,
    color: false,
    interactive: false,
    invoker: undefined,
    childEnv: {},
    isRoot: false,
  };
  const code = await main(['policy', ...args], deps);
  process.exitCode = before;
  await new Promise((resolve) => setImmediate(resolve));
  return { code, ...text };
}
