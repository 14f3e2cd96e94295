/** Logs as heddle-pause writes them: `TIME STREAM P|F TEXT`, a line each. */
import { createLineReader, type LogView } from '../log-view.ts';
import { readLog } from '../logs.ts';

/** Feeds on chunks of a log and gives the text of its lines, as `view` wants them. */
export const createCriReader = (view: LogView, write: (text: Buffer) => Promise<void>) =>
  createLineReader(view, criRenderer(view), write);

/** What a reader of the log sees of its lines: of one in pieces the first alone has the time before it. */
export function criRenderer({ timestamps, since }: LogView): (line: string) => string {
  let begins = true;
  return (line) => {
    const match = /^(\S+) (?:stdout|stderr) ([PF]) (.*)$/s.exec(line);
    if (!match) return '';
    const [, time = '', kind, text = ''] = match;
    if (since !== undefined && Date.parse(time) < since) return '';
    const prefix = timestamps && begins ? `${time} ` : '';
    begins = kind === 'F';
    return `${prefix}${text}${begins ? '\n' : ''}`;
  };
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
