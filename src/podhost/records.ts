/** What a node remembers of its pods, a file each: written before anything is made, removed after all is gone. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../kernel/remove-tree.ts';
import type { HostPort } from '../api/host-ports.ts';
import { replaceFile } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import type { StandInPod } from './stand-in/types.ts';

export interface PodRecord {
  uid: string;
  namespace: string;
  name: string;
  netns: string;
  /** `netns` is the node's, by this identity: nothing of it is the pod's to make or to remove. */
  nodeNetwork?: string;
  /** Absent: a stand-in. */
  runtime?: 'process' | 'oci' | 'cri';
  /** ISO. */
  startTime: string;
  /** Bits per second, as the pod asked for when it was made; absent: no limit. */
  bandwidth?: { ingress?: number; egress?: number };
  /** Ports of the node that lead to it. */
  hostPorts?: readonly HostPort[];
  /** Absent until the network is set up. */
  addresses?: string[];
  hostInterface?: string;
  /** Of the pod's end of its link. */
  mac?: string;
  runningSince?: string;
  /** What the stand-in server was last asked to serve. */
  served?: StandInPod;
}

export interface Records {
  load(): Promise<PodRecord[]>;
  save(record: PodRecord): Promise<void>;
  remove(uid: string): Promise<void>;
  /** Folder for the pod's other files. */
  folder(uid: string): string;
}

export function createRecords(root: string, log: Log): Records {
  const folder = (uid: string) => join(root, uid);
  const file = (uid: string) => join(folder(uid), 'pod.json');
  return {
    folder,
    async load() {
      await mkdir(root, { recursive: true, mode: 0o700 });
      const records: PodRecord[] = [];
      for (const uid of await readdir(root)) {
        try {
          records.push(JSON.parse(await readFile(file(uid), 'utf8')) as PodRecord);
        } catch (error) {
          log.warn('a pod record cannot be read; removing it', { uid, error: String(error) });
          await removeTree(folder(uid));
        }
      }
      return records;
    },
    async save(record) {
      await mkdir(folder(record.uid), { recursive: true, mode: 0o755 });
      // Not synced: a power cut takes the pods as well.
      await replaceFile(file(record.uid), JSON.stringify(record), { mode: 0o600, synced: false });
    },
    remove: (uid) => removeTree(folder(uid)),
  };
}
