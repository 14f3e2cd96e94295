/** The thread of prepare.ts. Lines of its log are messages to who started it. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Fields, Level, Log } from '../../lib/log.ts';
import { type NodePrograms, openNodePrograms } from './node-programs.ts';

export type Line = readonly [level: Level, message: string, fields: Fields | undefined];

const at = (level: Level) => (message: string, fields?: Fields) =>
  parentPort?.postMessage([level, message, fields] satisfies Line, []);
const log: Log = {
  debug: at('debug'),
  info: at('info'),
  warn: at('warn'),
  error: at('error'),
  with: () => log,
};

openNodePrograms({ ...(workerData as Omit<NodePrograms, 'log'>), log }).close();
