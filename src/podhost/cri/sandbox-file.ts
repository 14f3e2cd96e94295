/** What a pod has in the container runtime, a file in its folder: written before anything is asked of the runtime. */
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SANDBOX_FILE } from '../../cri/sandboxes.ts';
import type { PodSandboxConfig } from '../../cri/types.ts';
import { replaceFile } from '../../lib/files.ts';

export interface SavedSandbox {
  /** Absent while it is not known whether there is one. */
  id?: string;
  /** As it was asked for: every container is made with it. */
  config: PodSandboxConfig;
}

const fileOf = (folder: string): string => join(folder, SANDBOX_FILE);

/** Undefined: none was asked for. */
export function loadSandbox(folder: string): SavedSandbox | undefined {
  try {
    return JSON.parse(readFileSync(fileOf(folder), 'utf8')) as SavedSandbox;
  } catch {
    return undefined;
  }
}

export async function saveSandbox(folder: string, saved: SavedSandbox): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  await replaceFile(fileOf(folder), JSON.stringify(saved), { mode: 0o600, synced: false });
}
