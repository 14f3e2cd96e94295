/** Manifests from files, folders and stdin, checked as far as can be without a cluster. */
import { checkManifests, type CheckOptions } from './manifest/check.ts';
import { type FilesOptions, readSources } from './manifest/files.ts';
import { type ManifestObject, parseManifests } from './manifest/parse.ts';
import { manifestError, type ManifestProblem } from './manifest/problem.ts';

export type { ManifestObject } from './manifest/parse.ts';
export type { ManifestProblem } from './manifest/problem.ts';
export { problemText } from './manifest/problem.ts';

export interface ReadManifests {
  readonly objects: ManifestObject[];
  readonly problems: ManifestProblem[];
}

/** Everything that was read and everything that is wrong with it. Objects of unknown kinds are among them. */
export async function readManifests(
  paths: readonly string[],
  options: FilesOptions & CheckOptions = {},
): Promise<ReadManifests> {
  const { sources, problems: unread } = await readSources(paths, options);
  const parsed = sources.map(parseManifests);
  const objects = parsed.flatMap((p) => p.objects);
  const problems = [...unread, ...parsed.flatMap((p) => p.problems), ...checkManifests(objects, options)];
  if (objects.length === 0 && problems.length === 0)
    problems.push({ file: paths.join(', '), message: 'no object in it: nothing to do' });
  return { objects, problems };
}

/** As `readManifests`; @throws HeddleError `BadManifest` that lists every problem */
export async function loadManifests(
  paths: readonly string[],
  options: FilesOptions & CheckOptions = {},
): Promise<ManifestObject[]> {
  const { objects, problems } = await readManifests(paths, options);
  const error = manifestError(problems);
  if (error) throw error;
  return objects;
}
