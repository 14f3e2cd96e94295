/** Starting programs: in a network namespace, in a cgroup, with an environment that is said and not inherited. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { HeddleError } from '../lib/errors.ts';
import { keepDescriptors } from './descriptors.ts';
import { inNetns, type Netns } from './netns.ts';

export type { ChildProcess } from 'node:child_process';

export interface SpawnIn {
  argv: readonly string[];
  netns?: Netns;
  /** Absolute path of an existing cgroup2 folder. */
  cgroup?: string;
  /** Default: PATH alone. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Default: no input, output thrown away. */
  stdio?: SpawnOptions['stdio'];
  /** A session of its own: outlives this process and its terminal. */
  detached?: boolean;
}

// What whoever started this process had open is nobody's business below it.
keepDescriptors();

const DEFAULT_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

/**
 * Joins the cgroup and then becomes the program (same pid), so that not one instruction of it runs outside.
 * Moving this process there and back would be the other way: it takes all its threads along, and a crash in
 * between leaves it there.
 */
const JOIN = 'echo $$ > "$0" && exec "$@"';

/**
 * The child is in `netns` and in `cgroup` before its program starts. With a cgroup a program that does
 * not exist shows as exit code 127 and words on stderr, without as the `error` event.
 */
export function spawnIn(options: SpawnIn): ChildProcess {
  const [program, ...rest] = options.argv;
  if (program === undefined) throw new TypeError('argv names no program');
  const { cgroup, netns, env = DEFAULT_ENV, cwd, stdio = 'ignore', detached = false } = options;
  const settings = { env: { ...env }, cwd, stdio, detached };
  const start = () =>
    cgroup === undefined
      ? spawn(program, rest, settings)
      : spawn('/bin/sh', ['-c', JOIN, procsOf(cgroup), program, ...rest], settings);
  return netns ? inNetns(netns, start) : start();
}

function procsOf(cgroup: string): string {
  const file = join(cgroup, 'cgroup.procs');
  if (!fs.existsSync(file)) throw new HeddleError('Cgroup', `${cgroup} is not a cgroup`);
  return file;
}

export interface RunOptions {
  /** Written to its standard input, which is then closed. */
  input?: string | Uint8Array;
  /** Milliseconds; then it is killed. Default 30,000. */
  timeoutMs?: number;
  netns?: Netns;
  cgroup?: string;
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Bytes of stdout and of stderr; one more and it is killed. Default 16 MB. */
  maxOutput?: number;
  signal?: AbortSignal;
}

export interface RunResult {
  /** 128 + n where a signal ended it, as shells say it. */
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a program to its end. A code other than 0 is a result, not an error.
 * @throws HeddleError `ProgramMissing`, `ProgramTimeout`, `ProgramOutput`; the reason of `signal`
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeoutMs = 30_000, maxOutput = 16 << 20, signal } = options;
  signal?.throwIfAborted();
  const child = spawnIn({ ...options, argv, stdio: ['pipe', 'pipe', 'pipe'] });
  let failure: unknown;
  const stop = (error: unknown) => {
    failure ??= error;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(
    () => stop(new HeddleError('ProgramTimeout', `${argv.join(' ')} did not end within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const onAbort = () => stop(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const tooMuch = () =>
    stop(new HeddleError('ProgramOutput', `${argv.join(' ')} printed more than ${maxOutput} bytes`));
  const stdout = collect(child.stdout, maxOutput, tooMuch);
  const stderr = collect(child.stderr, maxOutput, tooMuch);
  // A program that ends without reading its input is its own business.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  try {
    const code = await exitCode(child, argv);
    if (failure !== undefined) throw failure;
    return { code, stdout: stdout(), stderr: stderr() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function collect(stream: NodeJS.ReadableStream | null, max: number, onTooMuch: () => void): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > max) onTooMuch();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

function exitCode(child: ChildProcess, argv: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('close', (code, signal) => resolve(code ?? 128 + (SIGNALS[signal ?? ''] ?? 0)));
    child.once('error', (cause) => {
      const error = new HeddleError('ProgramMissing', `cannot start ${argv[0]}`, {
        hint: 'the program is not installed, or not executable',
        cause,
      });
      reject(error);
    });
  });
}
