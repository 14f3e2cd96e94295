/** Numbered traffic between pods, by processes of their own: what `numbered.c` says it sent and saw. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { run, spawnIn } from '../../kernel/spawn.ts';
import { testFolder } from '../../kernel/test-netns.ts';

type After = Pick<TestContext, 'after'>;

export interface Heard {
  /** Datagrams that were for somebody else, or nobody's. */
  readonly foreign: number;
  /** Datagrams with a tag. */
  readonly forbidden: number;
  /** Lost in the socket's buffer: nothing is known then. */
  readonly overflow: number;
  readonly flows: Readonly<
    Record<string, { received: number; twice: number; behind: number; missing: readonly number[] }>
  >;
}

export interface Sent {
  readonly seconds: number;
  readonly flows: Readonly<Record<string, { sent: number; failed: number }>>;
}

export interface Talked {
  readonly connections: number;
  readonly broken: number;
  /** Without an answer in the end. */
  readonly silent: number;
  readonly wrong: number;
  readonly answers: number;
  /** The longest wait for an answer. */
  readonly gapMs: number;
  readonly retransmitted: number;
}

export interface Dialled {
  readonly tried: number;
  readonly failed: number;
  readonly silent: number;
  /** Answered after more than half a second: something was sent again. */
  readonly slow: number;
  readonly slowestMs: number;
}

export interface Knocked {
  readonly tried: number;
  readonly letIn: number;
  readonly answered: number;
}

export interface Numbered {
  /** Ends it and returns what it says. */
  end<T>(): Promise<T>;
}

export type StartNumbered = (
  words: readonly (string | number)[],
  where: { readonly netns: Netns; readonly cgroup?: string },
) => Promise<Numbered>;

/** Compiles the program; what is returned starts it and waits until it is at work. */
export async function numbered(t: After): Promise<StartNumbered> {
  const program = join(testFolder(t), 'numbered');
  const source = join(import.meta.dirname, 'numbered.c');
  const compiled = await run(['cc', '-O2', '-Wall', '-Werror', '-o', program, source]);
  assert.equal(compiled.code, 0, compiled.stderr);
  return async (words, where) => {
    const child = spawnIn({
      argv: [program, ...words.map(String)],
      stdio: ['pipe', 'pipe', 'inherit'],
      ...where,
    });
    t.after(() => void child.kill('SIGKILL'));
    return follow(child, words.join(' '));
  };
}

async function follow(child: ChildProcess, what: string): Promise<Numbered> {
  let said = '';
  const ready = Promise.withResolvers<void>();
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (said.startsWith('ready\n')) ready.resolve();
  });
  void closed.then((code) => ready.reject(new Error(`${what} ended with ${code}`)));
  child.once('error', ready.reject);
  await ready.promise;
  return {
    async end<T>() {
      child.stdin?.end();
      const code = await closed;
      assert.equal(code, 0, what);
      return JSON.parse(said.slice('ready\n'.length)) as T;
    },
  };
}
