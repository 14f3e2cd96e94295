/** The terminal in front of the user, handed to a program in a pod: keys as they are typed, and its size. */
import type { ReadStream, WriteStream } from 'node:tty';
import type { TerminalSize } from '../podhost/exec-protocol.ts';
import type { CliDeps } from './deps.ts';
import { onInterrupt } from './interrupt.ts';

export interface LocalTerminal {
  onResize(listener: (size: TerminalSize) => void): void;
  /** A signal of another process: the terminal must be given back before this one ends. */
  readonly signal: AbortSignal;
  /** As it was. */
  close(): void;
}

/** With `keys`, Ctrl-C and its like reach the program in the pod. */
export async function openTerminal(deps: CliDeps, keys: boolean): Promise<LocalTerminal> {
  const stdin = deps.stdin as ReadStream;
  const stdout = deps.stdout as WriteStream;
  const raw = keys && stdin.isTTY;
  if (keys && !stdin.isTTY)
    deps.stderr.write('Unable to use a TTY - input is not a terminal or the right kind of file\n');
  if (raw) await makeRaw(stdin);
  const interrupt = onInterrupt();
  let listener: (() => void) | undefined;
  return {
    onResize(to) {
      if (!stdout.isTTY) return;
      listener = () => {
        // 0 by 0 where nobody has said.
        if (stdout.columns > 0 && stdout.rows > 0) to({ columns: stdout.columns, rows: stdout.rows });
      };
      stdout.on('resize', listener);
      listener();
    },
    signal: interrupt.signal,
    close() {
      if (listener) stdout.off('resize', listener);
      if (raw) stdin.setRawMode(false);
      interrupt.dispose();
    },
  };
}

/** Node leaves the output as it was: ends of lines would be made twice, and cursors put where they do not belong. */
async function makeRaw(stdin: ReadStream): Promise<void> {
  stdin.setRawMode(true);
  const { spawnIn } = await import('../kernel/spawn.ts');
  const stty = spawnIn({ argv: ['stty', '-opost'], stdio: ['inherit', 'ignore', 'ignore'] });
  await new Promise<void>((resolve) => {
    stty.once('close', () => resolve());
    stty.once('error', () => resolve());
  });
}
