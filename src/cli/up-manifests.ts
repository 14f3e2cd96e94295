/** The manifests of `up -f`: read and checked before anything is made, applied when the API server answers. */
import type { ManifestObject } from '../api/manifest.ts';
import { podTemplateOf, RUNTIME_ANNOTATION, runtimeOf } from '../api/runtime.ts';
import { HeddleError } from '../lib/errors.ts';
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

/**
 * Pods that nothing would run are told before a cluster is made for them.
 * @throws HeddleError `NoRuntime`
 */
export function checkRuntimes({ entries }: Manifests, options: { standIn: boolean }): void {
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
      hint: `images are not run yet: use --stand-in, or annotate pods with ${RUNTIME_ANNOTATION}: stand-in, or process`,
    },
  );
}
