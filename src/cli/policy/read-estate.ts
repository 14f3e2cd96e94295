/** Files, the live cluster, or the cluster with files laid over it → what questions about policies are asked of. */
import {
  ADMIN_NETWORK_POLICY,
  AUTHORIZATION_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CALICO_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  ENDPOINT_SLICE,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  type Kind,
  NAMESPACE,
  NETWORK_POLICY,
  NETWORK_SET,
  NODE,
  PEER_AUTHENTICATION,
  POD,
  REPLICA_SET,
  SERVICE,
  SERVICE_ACCOUNT,
  TIER,
} from '../../api/kinds.ts';
import { manifestError, type ManifestProblem } from '../../api/manifest/problem.ts';
import { readSources } from '../../api/manifest/files.ts';
import { type ManifestObject, parseManifests } from '../../api/manifest/parse.ts';
import type { KubeObject } from '../../api/types.ts';
import { isNotFound } from '../../client/api-error.ts';
import { clusterPaths } from '../../cluster/paths.ts';
import { HeddleError } from '../../lib/errors.ts';
import { isObject } from '../../lib/json.ts';
import type { Estate } from '../../policy/analyse/estate.ts';
import { estateFromObjects, objectId } from '../../policy/analyse/from-objects.ts';
import { isMesh, isPolicy, isUnreadPolicyKind } from '../../policy/analyse/object-kinds.ts';
import { isOpener } from '../../policy/openings/kinds.ts';
import type { PolicyRef } from '../../policy/decision.ts';
import { objectKey, type PolicyObject } from '../../policy/objects.ts';
import type { CliDeps } from '../deps.ts';
import { type CheckObjectOptions, type ObjectProblem, objectProblems } from './check-objects.ts';
import { surroundingsOf } from '../../policy/surroundings.ts';
import { OPENER_KINDS } from './opener-kinds.ts';
import { overlay } from './overlay.ts';

export interface EstateSource {
  readonly files: readonly string[];
  /** Read the cluster first, then lay the files over it. */
  readonly live: boolean;
  readonly dataDir: string;
  /** Of objects that name none. */
  readonly namespace: string;
  /** Parts of policies that mean nothing are no reason to refuse them: lint tells of them. */
  readonly lenient?: boolean;
}

export interface Place {
  readonly file: string;
  readonly line: number;
}

export interface LoadedEstate {
  readonly estate: Estate;
  /** Services, Ingresses, Gateways and their routes. */
  readonly openers: readonly KubeObject[];
  /** Where a part of a policy, or of an opener, is written; undefined for what came from the cluster. */
  placeOf(policy: PolicyRef, path: string): Place | undefined;
}

type EstateDeps = Pick<CliDeps, 'stdin' | 'stderr'>;

/**
 * What was skipped is told on stderr.
 * @throws HeddleError `BadManifest` that lists every problem, `BadFlag`, and as `connect`
 */
export async function loadEstate(source: EstateSource, deps: EstateDeps): Promise<LoadedEstate> {
  if (source.files.length === 0 && !source.live)
    throw new HeddleError('BadFlag', 'nothing to read: expected -f PATH, --live, or both', {
      hint: '-f takes a file, a folder, or - for stdin; --live reads the running cluster',
    });
  const live = source.live ? await readLive(source.dataDir) : { objects: [], owners: [] };
  const entries = await readEntries(source, deps, live.objects);
  const files = entries.map(({ object }) => object);
  const { estate, openers, skipped } = estateFromObjects(overlay(live.objects, files, live.owners));
  tellSkipped(skipped, deps);
  const places = new Map(
    entries.flatMap((entry): [string, ManifestObject][] => {
      if (isPolicy(entry.object) || isMesh(entry.object)) return [[policyId(entry.object), entry]];
      return isOpener(entry.object) ? [[openerId(entry.object), entry]] : [];
    }),
  );
  return {
    estate,
    openers,
    placeOf(policy, path) {
      const entry = places.get(`${policy.kind} ${policy.namespace}/${policy.name}`);
      return entry && { file: entry.file, line: entry.lineOf(path) };
    },
  };
}

const openerId = ({ kind, metadata }: KubeObject): string =>
  `${kind} ${metadata.namespace ?? 'default'}/${metadata.name}`;

const policyId = (object: KubeObject): string => objectKey(object as unknown as PolicyObject);

/** @throws HeddleError `BadManifest` */
async function readEntries(
  source: EstateSource,
  deps: EstateDeps,
  live: readonly KubeObject[],
): Promise<ManifestObject[]> {
  const { sources, problems: unread } = await readSources(source.files, {
    recursive: true,
    stdin: deps.stdin as AsyncIterable<Uint8Array | string>,
  });
  const parsed = sources.map(parseManifests);
  const all = parsed.flatMap(({ objects }) => objects);
  const objects = all.filter(({ object }) => isKubeObject(object));
  const around = [...live, ...objects.map(({ object }) => object)];
  const options = { lenient: source.lenient ?? false, surroundings: surroundingsOf(around, []) };
  const found = objects.flatMap((entry) => entryProblems(entry, options));
  const problems = [
    ...unread,
    ...parsed.flatMap((each) => each.problems),
    ...found.filter(({ absent }) => !absent),
  ];
  const error = manifestError(problems);
  // The head of several problems speaks of applying.
  if (error)
    throw new HeddleError('BadManifest', error.message.replace(', nothing was applied:', ':'), {
      hint: error.hint,
    });
  for (const { file, line, object, message } of found.filter(({ absent }) => absent))
    deps.stderr.write(`warning: ${file}:${line}: ${object}: ${message}\n`);
  const others = all.length - objects.length;
  if (others > 0)
    deps.stderr.write(
      `note: skipped ${others} YAML ${others === 1 ? 'document' : 'documents'} that no object is in\n`,
    );
  for (const { object } of objects) completeMetadata(object, source.namespace);
  tellRepeated(objects, deps);
  return objects;
}

/** Values of a chart, settings of a tool: folders hold such files too. */
const isKubeObject = (object: KubeObject): boolean =>
  typeof object.kind === 'string' && typeof object.apiVersion === 'string';

function entryProblems(
  { object, file, lineOf }: ManifestObject,
  options: CheckObjectOptions,
): (ManifestProblem & Pick<ObjectProblem, 'absent'>)[] {
  const problems = objectProblems(object, options);
  const metadata: Partial<KubeObject['metadata']> | undefined = object.metadata;
  const { name, namespace } = metadata ?? {};
  return problems.map(({ path, message, absent }) => ({
    ...(absent ? { absent } : {}),
    file,
    line: lineOf(path),
    object: `${object.kind} ${namespace ? `${namespace}/` : ''}${name ?? '(no name)'}`,
    message: `${path} ${message}`,
  }));
}

/** Kinds that nothing here looks at may have none: a Kustomization, say. */
function completeMetadata(object: KubeObject, namespace: string): void {
  if (!isObject(object.metadata)) object.metadata = { name: '' };
  object.metadata.namespace ??= namespace;
}

function tellRepeated(entries: readonly ManifestObject[], deps: EstateDeps): void {
  const seen = new Map<string, ManifestObject>();
  for (const entry of entries) {
    const id = objectId(entry.object);
    const before = seen.get(id);
    if (before && entry.object.metadata.name !== '')
      deps.stderr.write(
        `warning: ${entry.object.kind} ${entry.object.metadata.name} of ${before.file}:${before.line} is again in ${entry.file}:${entry.line}, which counts\n`,
      );
    seen.set(id, entry);
  }
}

function tellSkipped(skipped: ReadonlyMap<string, number>, deps: EstateDeps): void {
  const list = (kinds: readonly (readonly [string, number])[]) =>
    kinds.map(([kind, count]) => `${kind} (${count})`).join(', ');
  const all = [...skipped];
  const policies = all.filter(([kind]) => isUnreadPolicyKind(kind));
  const others = all.filter(([kind]) => !isUnreadPolicyKind(kind));
  if (policies.length > 0)
    deps.stderr.write(
      `warning: these policies are not read, and the answer leaves them out: ${list(policies)}\n`,
    );
  if (others.length > 0)
    deps.stderr.write(`note: skipped objects that no policy looks at: ${list(others)}\n`);
}

const kinds: readonly Kind[] = [
  NAMESPACE,
  NODE,
  POD,
  SERVICE,
  ENDPOINT_SLICE,
  SERVICE_ACCOUNT,
  NETWORK_POLICY,
];
/** Which a cluster may not have. */
const optionalKinds: readonly Kind[] = [
  ADMIN_NETWORK_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  CALICO_NETWORK_POLICY,
  GLOBAL_NETWORK_POLICY,
  TIER,
  NETWORK_SET,
  GLOBAL_NETWORK_SET,
  CILIUM_NETWORK_POLICY,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  AUTHORIZATION_POLICY,
  PEER_AUTHENTICATION,
  ...OPENER_KINDS,
];

interface Live {
  readonly objects: readonly KubeObject[];
  /** Which workload a pod is of. */
  readonly owners: readonly KubeObject[];
}

function noneIfUnknown(error: unknown): [] {
  if (isNotFound(error)) return [];
  throw error;
}

async function readLive(dataDir: string): Promise<Live> {
  // The client is not needed for files.
  const { connect } = await import('../connect.ts');
  const client = await connect(clusterPaths(dataDir));
  const list = async (kind: Kind): Promise<KubeObject[]> => {
    const { items } = await client.list(kind);
    const apiVersion = kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
    return items.map((item) => ({ ...(item as KubeObject), apiVersion, kind: kind.kind }));
  };
  try {
    const [owners, ...objects] = await Promise.all([
      ...[REPLICA_SET, ...kinds].map(list),
      ...optionalKinds.map(async (kind) => list(kind).catch(noneIfUnknown)),
    ]);
    return { objects: objects.flat(), owners: owners ?? [] };
  } finally {
    client.close();
  }
}
