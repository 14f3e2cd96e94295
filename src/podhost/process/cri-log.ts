/** Logs as heddle-pause writes them: `TIME STREAM P|F TEXT`, a line each. */
import { readLog } from '../logs.ts';

export interface LogView {
  /** The time before each line. */
  timestamps?: boolean;
  /** Milliseconds since 1970; older lines are left out. */
  since?: number;
  /** Bytes of text, at most. */
  limitBytes?: number;
}

/** Feeds on chunks of a log and gives the text of its lines, as `view` wants them. */
export function createCriReader(view: LogView, write: (text: Buffer) => Promise<void>) {
  let rest: Buffer = Buffer.alloc(0);
  let left = view.limitBytes ?? Number.POSITIVE_INFINITY;
  return {
    async take(chunk: Buffer): Promise<void> {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = rest.lastIndexOf(10);
      if (end < 0 || left <= 0) return;
      const lines = rest.toString('utf8', 0, end).split('\n');
      rest = rest.subarray(end + 1);
      const text = Buffer.from(lines.map((line) => render(line, view)).join(''));
      const given = text.subarray(0, Math.min(left, text.length));
      left -= given.length;
      await write(given);
    },
    isFull: () => left <= 0,
  };
}

/** What a reader of the log sees of one of its lines. */
export function render(line: string, { timestamps, since }: LogView): string {
  const match = /^(\S+) (?:stdout|stderr) ([PF]) (.*)$/s.exec(line);
  if (!match) return '';
  const [, time = '', kind, text = ''] = match;
  if (since !== undefined && Date.parse(time) < since) return '';
  return `${timestamps ? `${time} ` : ''}${text}${kind === 'P' ? '' : '\n'}`;
}

const LAST_LINES = 80;
const LAST_BYTES = 2048;

/** The last words of a program that left none for the purpose: as much as a kubelet takes. */
export async function lastOfLog(path: string): Promise<string> {
  const parts: Buffer[] = [];
  const reader = createCriReader({}, async (text) => void parts.push(text));
  await readLog({ path, tail: LAST_LINES }, reader.take, AbortSignal.abort()).catch(() => {});
  return Buffer.concat(parts).subarray(-LAST_BYTES).toString('utf8');
}
