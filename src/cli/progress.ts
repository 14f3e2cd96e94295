/** What a verb is doing, on stderr: one line a step, redrawn where a person watches. */
import type { CliDeps } from './deps.ts';

export interface Progress {
  /** A step begins; the one before is done. */
  step(text: string): void;
  /** Of the step that runs: `12 of 30 pods`. Shown where the line can be redrawn. */
  detail(text: string): void;
  /** The last step is done. */
  done(): void;
  /** The last step was not done. */
  fail(): void;
  /** A line that stays, between steps. */
  note(text: string): void;
}

export function createProgress(
  { stderr, interactive }: Pick<CliDeps, 'stderr' | 'interactive'>,
  now = performance.now.bind(performance),
): Progress {
  let current: { text: string; start: number; detail: string } | undefined;
  const redraw = () => {
    if (!interactive || !current) return;
    stderr.write(`\r\x1b[K  ${current.text}${current.detail ? `: ${current.detail}` : ''} …`);
  };
  const end = (mark: string) => {
    if (!current) return;
    const seconds = ((now() - current.start) / 1000).toFixed(1);
    stderr.write(
      `${interactive ? '\r\x1b[K' : ''}${mark} ${current.text}${current.detail ? `: ${current.detail}` : ''} (${seconds} s)\n`,
    );
    current = undefined;
  };
  return {
    step(text) {
      end('✓');
      current = { text, start: now(), detail: '' };
      redraw();
    },
    detail(text) {
      if (!current || current.detail === text) return;
      current.detail = text;
      redraw();
    },
    done: () => end('✓'),
    fail: () => end('✗'),
    note(text) {
      if (current && interactive) stderr.write('\r\x1b[K');
      stderr.write(`${text}\n`);
      redraw();
    },
  };
}
