/**
 * What clusters may have left in a container runtime that did not answer when they went: a note for each, kept over
 * boots as the runtime keeps its sandboxes, until the runtime has been asked to remove them.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openCri } from '../cri/client.ts';
import { CLUSTER_LABEL, removeSandboxes } from '../cri/sandboxes.ts';
import { errorText } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import { removeEmpty } from './data-dir.ts';
import { DEFAULT_DATA_DIR } from './paths.ts';

export interface Left {
  /** Id of the cluster. */
  readonly cluster: string;
  /** Of the runtime. */
  readonly endpoint: string;
  /** Milliseconds since 1970: what was made later is of the cluster's next life. */
  readonly at: number;
  /** Why it was left. */
  readonly why: string;
}

export const CRI_LEFT = join(dirname(DEFAULT_DATA_DIR), 'cri-left');

const fileOf = (folder: string, { cluster, endpoint }: Pick<Left, 'cluster' | 'endpoint'>): string =>
  join(folder, `${cluster}-${createHash('sha256').update(endpoint).digest('hex').slice(0, 8)}.json`);

export async function noteLeft(left: Left, folder: string = CRI_LEFT): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  await replaceFile(fileOf(folder, left), `${JSON.stringify(left)}\n`, { mode: 0o600, synced: true });
}

export function forgetLeft(left: Pick<Left, 'cluster' | 'endpoint'>, folder: string = CRI_LEFT): void {
  rmSync(fileOf(folder, left), { force: true });
  removeEmpty(folder);
}

/** By cluster. What is no note, or another's by its name, is passed over: nobody could forget it. */
export function findLeft(folder: string = CRI_LEFT): Left[] {
  return namesIn(folder).flatMap((name) => {
    const path = join(folder, name);
    const left = parse(path);
    return left && fileOf(folder, left) === path ? [left] : [];
  });
}

function parse(path: string): Left | undefined {
  try {
    const { cluster, endpoint, at, why } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Left>;
    const isWhole = typeof cluster === 'string' && typeof endpoint === 'string' && typeof at === 'number';
    return isWhole && cluster !== '' ? { cluster, endpoint, at, why: String(why) } : undefined;
  } catch {
    return undefined;
  }
}

export const leftText = ({ cluster, endpoint, why }: Left): string =>
  `sandboxes with the label ${CLUSTER_LABEL}=${cluster} may be left in ${endpoint}: ${why}`;

/** Asks the runtimes again, all at once. Those that have done it; the notes of the others stay. */
export async function sweepLeft(folder: string = CRI_LEFT): Promise<Left[]> {
  const asked = findLeft(folder).map(async (left) => {
    const why = await removeLeft(left, SOON_MS);
    if (why !== undefined) return [];
    forgetLeft(left, folder);
    return [left];
  });
  return (await Promise.all(asked)).flat();
}

/** Milliseconds that a runtime has to say that it is there. */
const SOON_MS = 2000;
/** The same where the cluster has just gone: it is what is worth waiting for. */
export const PATIENT_MS = 5000;
/** To remove all of them. A runtime that hangs in the middle holds nobody up longer. */
const ALL_MS = 120_000;

/** Why it could not be done. */
export async function removeLeft(
  { cluster, endpoint, at }: Omit<Left, 'why'>,
  patienceMs: number,
): Promise<string | undefined> {
  let late: NodeJS.Timeout | undefined;
  try {
    const cri = openCri(endpoint);
    try {
      await cri.version(AbortSignal.timeout(patienceMs));
      late = setTimeout(cri.close, ALL_MS);
      await removeSandboxes(cri, { [CLUSTER_LABEL]: cluster }, at);
      return undefined;
    } finally {
      clearTimeout(late);
      cri.close();
    }
  } catch (error) {
    return error instanceof DOMException && error.name === 'TimeoutError'
      ? `it gave no answer within ${patienceMs / 1000} s`
      : errorText(error);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}
