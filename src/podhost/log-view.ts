/** What a reader of a log asked to see of it, line by line. */

export interface LogView {
  /** The time before each line. */
  timestamps?: boolean;
  /** Milliseconds since 1970; older lines are left out. */
  since?: number;
  /** Bytes of text, at most. */
  limitBytes?: number;
}

/** Feeds on chunks of a log; gives what `render` makes of its lines, up to the limit. */
export function createLineReader(
  { limitBytes }: LogView,
  render: (line: string) => string,
  write: (text: Buffer) => Promise<void>,
) {
  let rest: Buffer = Buffer.alloc(0);
  let left = limitBytes ?? Number.POSITIVE_INFINITY;
  return {
    async take(chunk: Buffer): Promise<void> {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = rest.lastIndexOf(10);
      if (end < 0 || left <= 0) return;
      const lines = rest.toString('utf8', 0, end).split('\n');
      rest = rest.subarray(end + 1);
      const text = Buffer.from(lines.map(render).join(''));
      const given = text.subarray(0, Math.min(left, text.length));
      left -= given.length;
      await write(given);
    },
    isFull: () => left <= 0,
  };
}

/** For logs whose lines begin with their own time; one that does not is of the time of the line before it. */
export function plainRenderer({ timestamps, since }: LogView): (line: string) => string {
  let time = '';
  return (line) => {
    const [word = ''] = line.split(' ', 1);
    if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(word)) time = word;
    if (since !== undefined && time !== '' && Date.parse(time) < since) return '';
    return `${timestamps && time !== '' ? `${time} ` : ''}${line}\n`;
  };
}
