/** Applies checked manifests: everything is worked out first, so that a refusal leaves nothing half-applied. */

import { objectName } from '../api/manifest/check.ts';
import { manifestError, problemText } from '../api/manifest/problem.ts';
import type { ManifestObject } from '../api/manifest.ts';
import type { KubeObject } from '../api/types.ts';
import { ApiError, errorFromBody, isAlreadyExists, isConflict } from '../client/api-error.ts';
import { collectionPath, objectPath, withQuery } from '../client/path.ts';
import type { Client } from '../client/types.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { mapLimited } from '../lib/parallel.ts';
import { getIfThere, type PlanOptions, patchFor, planApply, rankOf, type Step } from './apply-plan.ts';
import { objectWord } from './object-words.ts';

export type DryRun = 'client' | 'server' | undefined;
export type Outcome = 'created' | 'configured' | 'unchanged';

export interface Applied {
  /** `deployment.apps/web` */
  readonly name: string;
  readonly outcome: Outcome;
  readonly object: KubeObject;
}

export interface ApplyOptions extends PlanOptions {
  readonly dryRun?: DryRun;
  onApplied?(applied: Applied): void;
}

const WRITES_AT_ONCE = 8;
/** Writers that change an object between our read and our write are few: more tries would be a loop. */
const TRIES = 5;

/**
 * In the order of `rankOf`: a rank begins when the one before is done.
 * @throws HeddleError `BadManifest` before anything is sent, `ApplyFailed` when the server refused some
 */
export async function applyObjects(
  client: Client,
  entries: readonly ManifestObject[],
  options: ApplyOptions = {},
): Promise<Applied[]> {
  const plan = await planApply(client, entries, options);
  const refused = manifestError(plan.problems);
  if (refused) throw refused;
  const applied: Applied[] = [];
  const failures: string[] = [];
  for (const steps of byRank(plan.steps)) {
    const write = (step: Step) =>
      applyStep(client, step, options.dryRun).catch((error: unknown) => failureText(step, error));
    const results = await mapLimited(steps, WRITES_AT_ONCE, write, options.signal);
    for (const result of results) {
      if (typeof result === 'string') failures.push(result);
      else {
        applied.push(result);
        options.onApplied?.(result);
      }
    }
    // Without its namespace nothing else can be made.
    if (failures.length > 0 && steps[0]?.manifest.kind === 'Namespace') break;
  }
  if (failures.length > 0)
    throw new HeddleError(
      'ApplyFailed',
      `the API server refused ${failures.length} of ${plan.steps.length} objects:\n  ${failures.join('\n  ')}`,
      { hint: 'what was applied stays; correct the rest and apply again' },
    );
  return applied;
}

function byRank(steps: readonly Step[]): Step[][] {
  const groups = new Map<number, Step[]>();
  for (const step of steps) {
    const rank = rankOf(step.manifest);
    groups.set(rank, [...(groups.get(rank) ?? []), step]);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** What the server refuses is the object's; a server that is gone ends the whole. */
function failureText({ entry }: Step, error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  return problemText({
    file: entry.file,
    line: entry.line,
    object: objectName(entry.object),
    message: errorText(error),
  });
}

async function applyStep(client: Client, step: Step, dryRun: DryRun): Promise<Applied> {
  const { resource, manifest } = step;
  const { name, namespace } = manifest.metadata;
  const done = (outcome: Outcome, object: KubeObject): Applied => ({
    name: objectWord(resource, name),
    outcome,
    object,
  });
  let { live } = step;
  for (let left = TRIES; ; left--) {
    try {
      if (!live) return done('created', await create(client, step, dryRun));
      const patch = patchFor(step, live);
      if (!patch) return done('unchanged', live);
      return done('configured', await update(client, step, live, patch, dryRun));
    } catch (error) {
      if (left <= 1 || !(isConflict(error) || isAlreadyExists(error))) throw error;
      live = await getIfThere(client, resource, name, namespace);
    }
  }
}

async function create(client: Client, { resource, manifest }: Step, dryRun: DryRun): Promise<KubeObject> {
  if (dryRun === 'client') return manifest;
  if (dryRun === undefined) return client.create(resource.kind, manifest);
  const path = collectionPath(resource.kind, manifest.metadata.namespace);
  return rehearse(client, 'POST', path, manifest, 'application/json');
}

async function update(
  client: Client,
  { resource }: Step,
  live: KubeObject,
  patch: object,
  dryRun: DryRun,
): Promise<KubeObject> {
  const { name, namespace } = live.metadata;
  if (dryRun === 'client') return live;
  if (dryRun === undefined)
    return client.patch(resource.kind, name, namespace, patch, { type: 'merge', fieldManager: 'heddle' });
  return rehearse(
    client,
    'PATCH',
    objectPath(resource.kind, name, namespace),
    patch,
    'application/merge-patch+json',
  );
}

async function rehearse(
  client: Client,
  method: string,
  path: string,
  body: unknown,
  contentType: string,
): Promise<KubeObject> {
  const answer = await client.request(method, withQuery(path, { dryRun: 'All' }), { body, contentType });
  if (answer.status >= 400) throw errorFromBody(answer.status, answer.text, `${method} ${path}`);
  return JSON.parse(answer.text) as KubeObject;
}
