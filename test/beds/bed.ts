/**
 * Test-beds: other kernels than the machine's, booted for one command that runs on the machine's own files (read
 * only). What the command says and how it ended come out through one shared folder, which is gone afterwards.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const root: string = resolve(import.meta.dirname, '../..');
export const guestScript: string = join(import.meta.dirname, 'guest.sh');

export interface BedOptions {
  /** Seconds from power on until the bed is ended by force. Default: 300. */
  readonly timeout?: number;
  /** MiB the bed has, its temporary files among them. Default: 1024. */
  readonly memory?: number;
  /** Emulated ones, where more than one wait for each other's turn at the machine's. Default: 2. */
  readonly processors?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface BedResult {
  /** Exit code of the command; undefined where the bed ended without one. */
  readonly code: number | undefined;
  /** What the command wrote, both streams. */
  readonly log: string;
  /** What the kernel wrote. */
  readonly console: string;
  readonly timedOut: boolean;
  readonly ms: number;
}

export interface Bed {
  readonly name: string;
  /** A reason to skip, for node:test; false where the bed can run. May take long once, to fetch a kernel. */
  missing(): string | false;
  run(command: readonly string[], options?: BedOptions): Promise<BedResult>;
}

/** Everything of one boot that differs between beds. `folder` is shared and writable. */
export interface Machine {
  readonly name: string;
  /** For every command. */
  readonly env?: Readonly<Record<string, string>>;
  missing(): string | false;
  /** Program and arguments; its output is the console. */
  start(folder: string, size: { readonly memory: number; readonly processors: number }): readonly string[];
}

export const createBed = (machine: Machine): Bed => ({
  name: machine.name,
  missing: machine.missing,
  async run(command, options = {}) {
    const folder = fs.mkdtempSync(join(tmpdir(), `heddle-bed-${process.pid}-`));
    try {
      const env = Object.entries({ HEDDLE_DEEP: '1', ...machine.env, ...options.env }).map(
        ([key, value]) => `${key}=${value}`,
      );
      fs.writeFileSync(join(folder, 'argv'), ['env', ...env, ...command].map((word) => `${word}\0`).join(''));
      fs.writeFileSync(join(folder, 'folder'), root);
      fs.writeFileSync(join(folder, 'log'), '');
      const { memory = 1024, processors = 2, timeout = 300 } = options;
      return await boot(machine.start(folder, { memory, processors }), folder, timeout);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  },
});

function boot([program = '', ...args]: readonly string[], folder: string, timeout: number) {
  const began = performance.now();
  const console = fs.openSync(join(folder, 'console'), 'w');
  // A group of its own: User-Mode Linux is many processes, and all of them must end.
  const child = spawn(program, args, { cwd: folder, detached: true, stdio: ['ignore', console, console] });
  const kill = () => {
    try {
      if (child.pid) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Nobody is left in it.
    }
  };
  const end = () => {
    kill();
    fs.rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  process.once('exit', kill);
  return new Promise<BedResult>((resolvePromise, reject) => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, timeout * 1000);
    const finish = () => {
      clearTimeout(timer);
      kill();
      fs.closeSync(console);
      process.off('exit', kill);
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, end);
    };
    child.once('error', (error) => {
      finish();
      reject(error);
    });
    child.once('close', () => {
      finish();
      const read = (name: string) => fs.readFileSync(join(folder, name), 'utf8');
      const code = fs.existsSync(join(folder, 'code')) ? Number(read('code')) : undefined;
      const ms = Math.round(performance.now() - began);
      resolvePromise({ code, log: read('log'), console: read('console'), timedOut, ms });
    });
  });
}

/** The command that runs test files as `npm test` does. */
export const testCommand = (files: readonly string[]): string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  '--test',
  '--test-concurrency=1',
  '--test-reporter=spec',
  ...files,
];

export const inPath = (program: string): string | undefined =>
  ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
    .map((folder) => join(folder, program))
    .find((path) => fs.existsSync(path));

/** `node test/beds/<bed>.ts [--timeout SECONDS] [--memory MIB] [--processors N] [--env KEY=VALUE] FILE… | -- COMMAND…` */
export async function main(bed: Bed, argv: readonly string[]): Promise<number> {
  const words = [...argv];
  const env: Record<string, string> = {};
  const options = { timeout: 600, memory: 1024, processors: 2, env };
  while (words[0]?.startsWith('--') && words[0] !== '--') {
    const [flag, value = ''] = words.splice(0, 2);
    if (flag === '--timeout') options.timeout = Number(value);
    else if (flag === '--memory') options.memory = Number(value);
    else if (flag === '--processors') options.processors = Number(value);
    else if (flag === '--env') env[value.split('=')[0] ?? ''] = value.slice(value.indexOf('=') + 1);
    else words.length = 0;
  }
  if (words.length === 0) {
    console.error(
      `usage: node test/beds/${bed.name}.ts [--timeout SECONDS] [--memory MIB] [--processors N] [--env KEY=VALUE] FILE… | -- COMMAND…`,
    );
    return 2;
  }
  const missing = bed.missing();
  if (missing !== false) {
    console.error(`error: ${missing}`);
    return 125;
  }
  const {
    code,
    log,
    console: said,
    timedOut,
    ms,
  } = await bed.run(words[0] === '--' ? words.slice(1) : testCommand(words), options);
  process.stdout.write(log);
  if (code === undefined) process.stderr.write(`${said.split('\n').slice(-30).join('\n')}\n`);
  const end =
    code === undefined
      ? timedOut
        ? 'ended by force at its time limit'
        : 'ended early'
      : `exit code ${code}`;
  console.error(`${bed.name}: ${end} after ${(ms / 1000).toFixed(1)} s`);
  return code ?? 125;
}

/** For a bed's own file: true where it is what was started. */
export const isMain = (url: string): boolean =>
  process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === new URL(url).pathname;
