/** A program in a terminal of its own, typed to and listened to: `script` makes the terminal. */
import { spawn } from 'node:child_process';
import { systemClock } from '../src/lib/clock.ts';

export interface Typed {
  type(text: string): void;
  /** Resolves once it has said `words`; what it said before the last of them does not count. */
  said(words: string): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** Ends whoever looks on, not what is looked at. */
  close(): void;
  readonly over: Promise<number>;
}

/** Milliseconds. */
const PATIENCE = 120_000;

/** `command` is a shell's. */
export function inTerminal(command: string): Typed {
  const child = spawn(
    'script',
    ['--quiet', '--return', '--command', `tty; stty cols 133 rows 44; exec ${command}`, '/dev/null'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  let text = '';
  let from = 0;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  child.stdin.on('error', () => {});
  const over = new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`it does not end: ${JSON.stringify(text.slice(-2000))}`));
    }, PATIENCE);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code ?? -1);
    });
  });
  over.catch(() => {});
  async function said(words: string): Promise<void> {
    for (const end = Date.now() + PATIENCE; !text.includes(words, from); await systemClock.sleep(20))
      if (Date.now() > end || child.exitCode !== null)
        throw new Error(`"${words}" is not in ${JSON.stringify(text.slice(from))}`);
    from = text.indexOf(words, from) + words.length;
  }
  return {
    type: (typed) => void child.stdin.write(typed),
    said,
    async resize(columns, rows) {
      // Its own is what the first line names.
      const [, tty = ''] = /(\/dev\/pts\/\d+)/.exec(text) ?? [];
      const stty = spawn('stty', ['-F', tty, 'cols', String(columns), 'rows', String(rows)]);
      await new Promise((resolve) => stty.once('close', resolve));
    },
    close: () => void child.kill('SIGTERM'),
    over,
  };
}
