/** The manifests of `up -f`: read and checked before anything is made, applied when the API server answers. */
import type { ManifestObject } from '../api/manifest.ts';
import type { CliDeps } from './deps.ts';

export interface Manifests {
  /** Objects that are sent. */
  readonly count: number;
  readonly entries: readonly ManifestObject[];
  /** What is not acted on, a line each: object, file and line, what becomes of it. */
  readonly notes: readonly string[];
}

/** YAML and schemas are loaded only where there are files. @throws HeddleError `BadManifest` */
export async function loadManifests(
  files: readonly string[],
  deps: Pick<CliDeps, 'stdin'>,
): Promise<Manifests> {
  if (files.length === 0) return { count: 0, entries: [], notes: [] };
  const [{ loadManifests: load }, { findUnsupported, summariseUnsupported }] = await Promise.all([
    import('../api/manifest.ts'),
    import('../api/unsupported.ts'),
  ]);
  const entries = await load(files, { stdin: deps.stdin as AsyncIterable<Uint8Array> });
  const unsupported = findUnsupported(entries);
  return {
    count: entries.length - unsupported.filter(({ skipped }) => skipped).length,
    entries,
    notes: summariseUnsupported(unsupported),
  };
}
