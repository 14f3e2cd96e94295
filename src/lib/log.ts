/** Structured logs, one JSON object a line. A process makes one root logger and hands children down. */
import { writeSync } from 'node:fs';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The same log with `fields` added to every line. */
  with(fields: Fields): Log;
}

const rank: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  /** Lines below this level are dropped. Default `info`. */
  level?: Level;
  fields?: Fields;
  write?: (line: string) => void;
  now?: () => Date;
}

export function createLog(options: LogOptions = {}): Log {
  const { level = 'info', fields = {}, write = toStderr, now = () => new Date() } = options;
  const at = (lineLevel: Level) => (msg: string, more?: Fields) => {
    if (rank[lineLevel] < rank[level]) return;
    write(`${JSON.stringify({ time: now().toISOString(), level: lineLevel, msg, ...fields, ...more })}\n`);
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (more) => createLog({ level, fields: { ...fields, ...more }, write, now }),
  };
}

/** A line that cannot be written (the disk is full, the reader is gone) is lost, and its writer goes on. */
function toStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Where else would one say so?
  }
}

/** Says nothing; for tests and for library use without a log. */
export const silentLog: Log = createLog({ write: () => {} });
