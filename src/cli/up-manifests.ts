/** The manifests of `up -f`: read and checked before anything is made, applied when the API server answers. */
import type { ManifestObject } from '../api/manifest.ts';
import {
  podTemplateOf,
  RUNTIME_ANNOTATION,
  type RuntimeDefaults,
  RUNTIMES,
  runtimeOf,
} from '../api/runtime.ts';
import { isClusterFile } from '../cluster/cluster-kind.ts';
import { HeddleError } from '../lib/errors.ts';
import type { CliDeps } from './deps.ts';

export interface Manifests {
  /** Objects that are sent. */
  readonly count: number;
  readonly entries: readonly ManifestObject[];
  /** What the cluster itself shall be: not sent to it. */
  readonly clusters: readonly ManifestObject[];
  /** What is not acted on, a line each: object, file and line, what becomes of it. */
  readonly notes: readonly string[];
}

/** YAML and schemas are loaded only where there are files. @throws HeddleError `BadManifest` */
export async function loadManifests(
  files: readonly string[],
  deps: Pick<CliDeps, 'stdin'>,
  runtime?: string,
): Promise<Manifests> {
  if (files.length === 0) return { count: 0, entries: [], clusters: [], notes: [] };
  const [{ loadManifests: load }, { findUnsupported, summariseUnsupported }] = await Promise.all([
    import('../api/manifest.ts'),
    import('../api/unsupported.ts'),
  ]);
  const all = await load(files, { stdin: deps.stdin as AsyncIterable<Uint8Array> });
  const clusters = all.filter(isClusterFile);
  const entries = all.filter((entry) => !clusters.includes(entry));
  const unsupported = findUnsupported(entries, runtime);
  return {
    count: entries.length - unsupported.filter(({ skipped }) => skipped).length,
    entries,
    clusters,
    notes: summariseUnsupported(unsupported),
  };
}

/** Both, as if they had been read together. */
export const together = (a: Manifests, b: Manifests): Manifests => ({
  count: a.count + b.count,
  entries: [...a.entries, ...b.entries],
  clusters: [...a.clusters, ...b.clusters],
  notes: [...a.notes, ...b.notes],
});

/**
 * Pods that nothing would run are told before a cluster is made for them.
 * @throws HeddleError `NoRuntime`
 */
export function checkRuntimes({ entries }: Manifests, options: RuntimeDefaults): void {
  const without = entries.filter(({ object }) => {
    const template = podTemplateOf(object);
    return template !== undefined && runtimeOf(template, options) === undefined;
  });
  const [first] = without;
  if (!first) return;
  const { kind, metadata } = first.object;
  const more = without.length > 1 ? ` (and ${without.length - 1} more)` : '';
  throw new HeddleError(
    'NoRuntime',
    `${first.file}:${first.line}: nothing would run the pods of ${kind} ${metadata.name}${more}`,
    {
      hint: `use --stand-in, or --runtime oci for images that were imported, or annotate pods with ${RUNTIME_ANNOTATION}: ${RUNTIMES.join(', ')}`,
    },
  );
}
