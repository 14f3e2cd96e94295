/** What a node's data path is and was, in a file of its state: an agent that dies amid a move finishes it. */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DATAPATHS, type DatapathName } from '../cluster/config.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';

export interface DatapathFile {
  /** What the node was moved to last, or what its cluster has. */
  current(): DatapathName;
  /** All that may have something in this node's kernel. */
  used(): readonly DatapathName[];
  /** Synced before it returns: what is named may then touch the kernel. @throws HeddleError `NoDatapath` */
  choose(name: string): Promise<void>;
}

interface Content {
  readonly current: DatapathName;
  readonly used: readonly DatapathName[];
}

export function openDatapathFile(path: string, fallback: DatapathName): DatapathFile {
  let content = read(path) ?? { current: fallback, used: [fallback] };
  return {
    current: () => content.current,
    used: () => content.used,
    async choose(name) {
      const current = DATAPATHS.find((each) => each === name);
      if (!current)
        throw new HeddleError('NoDatapath', `there is no data path ${name}`, {
          hint: `choose one of ${DATAPATHS.join(', ')}`,
        });
      content = { current, used: [...new Set([...content.used, current])] };
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      await replaceFile(path, `${JSON.stringify(content)}\n`, { mode: 0o600, synced: true });
    },
  };
}

function read(path: string): Content | undefined {
  try {
    const { current, used } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Content>;
    const known = DATAPATHS.find((name) => name === current);
    return known && { current: known, used: DATAPATHS.filter((name) => used?.includes(name)) };
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
