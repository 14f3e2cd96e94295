/** What applying manifests would do to each object: worked out for all of them before anything is sent. */
import { fieldErrorText } from '../api/field-error.ts';
import { NAMESPACE } from '../api/kinds.ts';
import { LAST_APPLIED } from '../api/labels.ts';
import { objectName } from '../api/manifest/check.ts';
import type { ManifestObject, ManifestProblem } from '../api/manifest.ts';
import { createMergePatch } from '../api/patch/merge-patch.ts';
import { threeWayMerge } from '../api/patch/three-way.ts';
import { findKind } from '../api/registry.ts';
import type { Resource } from '../api/resource.ts';
import { pruneUnknown } from '../api/schema/check.ts';
import type { KubeObject } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import { clone, isObject, type Json, sameJson } from '../lib/json.ts';
import { mapLimited } from '../lib/parallel.ts';

/** Where kubectl and Heddle both keep the manifest applied last. */
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

export interface PlanOptions {
  /** Namespaces that objects name, that are not there and that no manifest makes, are made. */
  readonly createNamespaces?: boolean;
  /** Aborting ends it between two objects; what was sent stays. */
  readonly signal?: AbortSignal;
}

/** Objects of kinds that are not served are left out. */
export async function planApply(
  client: Client,
  entries: readonly ManifestObject[],
  options: PlanOptions = {},
): Promise<Plan> {
  const known = entries.flatMap((entry) => {
    const resource = findKind(entry.object.apiVersion, entry.object.kind);
    return resource ? [{ entry, resource }] : [];
  });
  const read = async ({ entry, resource }: (typeof known)[number]): Promise<Step> => {
    const { name, namespace } = entry.object.metadata;
    const live = await getIfThere(client, resource, name, namespace);
    return { entry, resource, manifest: manifestToSend(resource, entry.object), live };
  };
  const steps = await mapLimited(known, READS_AT_ONCE, read, options.signal);
  const missing = await missingNamespaces(client, steps);
  if (options.createNamespaces) steps.push(...missing.map(namespaceStep));
  steps.sort((a, b) => rankOf(a.manifest) - rankOf(b.manifest));
  const problems = steps.flatMap(updateProblems);
  if (!options.createNamespaces) problems.push(...missing.map(namespaceProblem));
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
  const annotations = { ...manifest.metadata.annotations, [LAST_APPLIED]: lastAppliedText(object) };
  return { ...manifest, metadata: { ...manifest.metadata, annotations } };
}

/** Byte for byte as kubectl writes it, so that neither tool finds something to change after the other. */
export function lastAppliedText(object: KubeObject): string {
  const { [LAST_APPLIED]: _old, ...annotations } = object.metadata.annotations ?? {};
  const whole = { ...object, metadata: { ...object.metadata, annotations } };
  // Go's encoder writes these as escapes.
  const escaped = /[<>&\u2028\u2029]/g;
  const text = JSON.stringify(sorted(whole)).replace(
    escaped,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${text}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}

function lastApplied(live: KubeObject): unknown {
  try {
    return JSON.parse(live.metadata.annotations?.[LAST_APPLIED] ?? '');
  } catch {
    return undefined;
  }
}

/** The object as it should be; `live` with what the manifest says and without what it no longer says. */
function desiredObject({ resource, manifest }: Step, live: KubeObject): KubeObject {
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
  const desired = resource.applyDefaults(resource.prepareUpdate(desiredObject(step, live), live));
  return [
    ...resource.validate(desired),
    ...resource.validateUpdate(desired, resource.applyDefaults(live)),
  ].map((error) => at(error.field, fieldErrorText(error)));
}

interface MissingNamespace {
  readonly name: string;
  /** The first that needs it. */
  readonly entry: ManifestObject;
}

async function missingNamespaces(client: Client, steps: readonly Step[]): Promise<MissingNamespace[]> {
  const isNamespace = (step: Step) => step.resource.kind.kind === NAMESPACE.kind;
  const made = new Set(steps.filter(isNamespace).map((s) => s.manifest.metadata.name));
  const first = new Map<string, ManifestObject>();
  for (const { manifest, live, entry } of steps) {
    const { namespace } = manifest.metadata;
    if (namespace && !live && !made.has(namespace) && !first.has(namespace)) first.set(namespace, entry);
  }
  const found = await mapLimited([...first], READS_AT_ONCE, async ([name, entry]) =>
    (await client.get(NAMESPACE, name).then(() => true, absent)) ? [] : [{ name, entry }],
  );
  return found.flat();
}

const namespaceProblem = ({ name, entry }: MissingNamespace): ManifestProblem => ({
  file: entry.file,
  line: entry.lineOf('metadata.namespace'),
  object: objectName(entry.object),
  message: `there is no namespace "${name}"`,
  hint: `add a Namespace "${name}" to the manifests`,
});

function namespaceStep({ name, entry }: MissingNamespace): Step {
  const object = { apiVersion: 'v1', kind: NAMESPACE.kind, metadata: { name } };
  const resource = findKind(object.apiVersion, object.kind);
  if (!resource) throw new TypeError('namespaces are not served');
  const made = { ...entry, object };
  return { entry: made, resource, manifest: manifestToSend(resource, object), live: undefined };
}

function absent(error: unknown): boolean {
  if (isNotFound(error)) return false;
  throw error;
}
