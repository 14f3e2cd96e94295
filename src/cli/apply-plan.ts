/** What applying manifests would do to each object: worked out for all of them before anything is sent. */
import { fieldErrorText, sameJson } from '../api/field-error.ts';
import { clone, type Json } from '../api/json.ts';
import { NAMESPACE } from '../api/kinds.ts';
import type { ManifestObject, ManifestProblem } from '../api/manifest.ts';
import { objectName } from '../api/manifest/check.ts';
import { createMergePatch } from '../api/patch/merge-patch.ts';
import { threeWayMerge } from '../api/patch/three-way.ts';
import { findKind } from '../api/registry.ts';
import type { Resource } from '../api/resource.ts';
import { pruneUnknown } from '../api/schema/check.ts';
import type { KubeObject } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import { mapLimited } from './limited.ts';

/** Where kubectl and Heddle both keep the manifest applied last. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const READS_AT_ONCE = 8;

export interface Step {
  readonly entry: ManifestObject;
  readonly resource: Resource;
  /** The manifest as it is sent: known fields only, with the annotation. */
  readonly manifest: KubeObject;
  readonly live: KubeObject | undefined;
}

export interface Plan {
  readonly steps: Step[];
  readonly problems: ManifestProblem[];
}

/** Namespaces first, then what pods need, then what starts pods. */
const ORDER = [
  'Namespace',
  'ServiceAccount',
  'Secret',
  'ConfigMap',
  'NetworkPolicy',
  'Service',
  'EndpointSlice',
];

export const rankOf = (object: KubeObject): number => {
  const rank = ORDER.indexOf(object.kind);
  return rank < 0 ? ORDER.length : rank;
};

/** Objects of kinds that are not served are left out. */
export async function planApply(client: Client, entries: readonly ManifestObject[]): Promise<Plan> {
  const known = entries.flatMap((entry) => {
    const resource = findKind(entry.object.apiVersion, entry.object.kind);
    return resource ? [{ entry, resource }] : [];
  });
  const steps = await mapLimited(known, READS_AT_ONCE, async ({ entry, resource }): Promise<Step> => {
    const { name, namespace } = entry.object.metadata;
    const live = await getIfThere(client, resource, name, namespace);
    return { entry, resource, manifest: manifestToSend(resource, entry.object), live };
  });
  steps.sort((a, b) => rankOf(a.manifest) - rankOf(b.manifest));
  const problems = [...steps.flatMap(updateProblems), ...(await missingNamespaces(client, steps))];
  return { steps, problems };
}

export async function getIfThere(
  client: Client,
  resource: Resource,
  name: string,
  namespace?: string,
): Promise<KubeObject | undefined> {
  try {
    return await client.get(resource.kind, name, namespace);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function manifestToSend(resource: Resource, object: KubeObject): KubeObject {
  const manifest = pruneUnknown(resource.kind, object);
  // The status is the cluster's to write.
  delete manifest['status'];
  const { [LAST_APPLIED]: _old, ...annotations } = manifest.metadata.annotations ?? {};
  manifest.metadata = { ...manifest.metadata, annotations };
  const text = `${JSON.stringify(manifest)}\n`;
  return {
    ...manifest,
    metadata: { ...manifest.metadata, annotations: { ...annotations, [LAST_APPLIED]: text } },
  };
}

function lastApplied(live: KubeObject): unknown {
  try {
    return JSON.parse(live.metadata.annotations?.[LAST_APPLIED] ?? '');
  } catch {
    return undefined;
  }
}

/** The object as it should be; `live` with what the manifest says and without what it no longer says. */
export function desiredObject({ resource, manifest }: Step, live: KubeObject): KubeObject {
  return threeWayMerge(resource.kind, lastApplied(live), manifest, live);
}

/** The merge patch that takes `live` there; undefined when there is nothing to do. */
export function patchFor(step: Step, live: KubeObject): Record<string, Json> | undefined {
  const { resource } = step;
  const desired = desiredObject(step, live);
  // Defaults that the merge took away would only be put back.
  if (sameJson(resource.applyDefaults(desired), resource.applyDefaults(live))) return undefined;
  const patch = createMergePatch(live as Json, clone(desired) as Json) as Record<string, Json>;
  const metadata = (patch['metadata'] ?? {}) as Record<string, Json>;
  return { ...patch, metadata: { ...metadata, resourceVersion: live.metadata.resourceVersion ?? null } };
}

function updateProblems(step: Step): ManifestProblem[] {
  const { entry, resource, live } = step;
  if (!live) return [];
  const at = (path: string, message: string): ManifestProblem => ({
    file: entry.file,
    line: entry.lineOf(path),
    object: objectName(entry.object),
    message,
  });
  if (live.metadata.deletionTimestamp && resource.kind.kind === 'Namespace')
    return [
      {
        ...at('metadata.name', 'the namespace is being deleted'),
        hint: 'wait until it is gone, then apply again',
      },
    ];
  const desired = resource.applyDefaults(desiredObject(step, live));
  return [
    ...resource.validate(desired),
    ...resource.validateUpdate(desired, resource.applyDefaults(live)),
  ].map((error) => at(error.field, fieldErrorText(error)));
}

async function missingNamespaces(client: Client, steps: readonly Step[]): Promise<ManifestProblem[]> {
  const made = new Set(
    steps.filter((s) => s.resource.kind.kind === 'Namespace').map((s) => s.manifest.metadata.name),
  );
  const first = new Map<string, Step>();
  for (const step of steps) {
    const { namespace } = step.manifest.metadata;
    if (namespace && !step.live && !made.has(namespace) && !first.has(namespace)) first.set(namespace, step);
  }
  const found = await mapLimited(
    [...first],
    READS_AT_ONCE,
    async ([name, step]): Promise<ManifestProblem[]> => {
      if (await client.get(NAMESPACE, name).then(() => true, absent)) return [];
      const { entry } = step;
      return [
        {
          file: entry.file,
          line: entry.lineOf('metadata.namespace'),
          object: objectName(entry.object),
          message: `there is no namespace "${name}"`,
          hint: `add a Namespace "${name}" to the manifests`,
        },
      ];
    },
  );
  return found.flat();
}

function absent(error: unknown): boolean {
  if (isNotFound(error)) return false;
  throw error;
}
