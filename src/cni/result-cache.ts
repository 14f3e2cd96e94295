/** Results of ADD on disk, one file per attachment, in libcni's own format (`cniCacheV1`). */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import { isObject } from '../lib/json.ts';
import type { RuntimeConf } from './conflist.ts';
import type { Attachment, CniResult, NetConfList } from './types.ts';

export interface CachedResult extends Attachment {
  networkName: string;
  result: CniResult;
}

export interface ResultCache {
  /** Undefined when there is none, or none that can be read. */
  read(attachment: Attachment): Promise<CachedResult | undefined>;
  write(entry: { conf: RuntimeConf; list: NetConfList; result: CniResult }): Promise<void>;
  remove(attachment: Attachment): Promise<void>;
  list(): Promise<CachedResult[]>;
}

interface Saved {
  kind: 'cniCacheV1';
  containerId: string;
  /** Base64 of the list. */
  config: string;
  ifName: string;
  networkName: string;
  cniArgs: [string, string][];
  capabilityArgs: Record<string, unknown>;
  result: CniResult;
}

export function createResultCache(folder: string, network: string): ResultCache {
  const results = join(folder, 'results');
  const fileOf = ({ containerId, ifName }: Attachment) =>
    join(results, `${network}-${containerId}-${ifName}`);

  async function load(file: string): Promise<CachedResult | undefined> {
    try {
      const saved = JSON.parse(await readFile(file, 'utf8')) as Partial<Saved> | null;
      if (!isObject(saved) || !isObject(saved.result)) return undefined;
      const { containerId, ifName, networkName, result } = saved;
      if (saved.kind !== 'cniCacheV1' || !containerId || !ifName || !networkName || !result) return undefined;
      return { containerId, ifName, networkName, result };
    } catch (error) {
      if (['ENOENT', 'EISDIR'].includes(errnoCode(error) ?? '') || error instanceof SyntaxError)
        return undefined;
      throw error;
    }
  }

  return {
    read: (attachment) => load(fileOf(attachment)),
    async write({ conf, list, result }) {
      const saved: Saved = {
        kind: 'cniCacheV1',
        containerId: conf.containerId,
        config: Buffer.from(JSON.stringify(list)).toString('base64'),
        ifName: conf.ifName,
        networkName: network,
        cniArgs: Object.entries(conf.args ?? {}),
        capabilityArgs: { ...conf.capabilities },
        result,
      };
      await mkdir(results, { recursive: true, mode: 0o700 });
      await replaceFile(fileOf(conf), JSON.stringify(saved), { mode: 0o600, synced: false });
    },
    remove: (attachment) => rm(fileOf(attachment), { force: true }),
    async list() {
      const names = await readdir(results).catch((error: unknown) => {
        if (errnoCode(error) === 'ENOENT') return [];
        throw error;
      });
      const wanted = names.filter((name) => name.startsWith(`${network}-`) && !name.endsWith('.new'));
      const loaded = await Promise.all(wanted.map((name) => load(join(results, name))));
      return loaded.filter((entry) => entry !== undefined);
    },
  };
}
