/**
 * What this version of Heddle reads and stores, but does not act on yet. One table; a row goes when its
 * feature comes.
 */
import { isObject } from '../lib/json.ts';
import { findKind } from './registry.ts';
import { askedRuntime, podTemplateOf } from './runtime.ts';
import type { ManifestObject } from './manifest/parse.ts';
import { objectName, servedVersion } from './manifest/check.ts';

export interface Unsupported {
  readonly file: string;
  readonly line: number;
  /** `Deployment shop/web` */
  readonly object: string;
  /** The field; absent when it is the whole object. */
  readonly path?: string;
  /** What becomes of it. */
  readonly why: string;
  /** The object is not sent to the cluster at all. */
  readonly skipped: boolean;
}

interface Row {
  /** `*` stands for every item or member. */
  readonly path: string;
  readonly why: string;
  /** Only for such values; else for any that is there. */
  readonly when?: (value: unknown) => boolean;
  /** Pods of processes do it. */
  readonly standIn?: boolean;
}

const is =
  (...wanted: unknown[]) =>
  (value: unknown): boolean =>
    wanted.includes(value);
const isNot =
  (...allowed: unknown[]) =>
  (value: unknown): boolean =>
    !allowed.includes(value);
const filled = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : isObject(value) ? Object.keys(value).length > 0 : Boolean(value);

/** A sidecar is an init container that goes on running: those are served. */
const ends = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.some((container) => isObject(container) && container['restartPolicy'] !== 'Always');

const EXEC_PROBE = 'passes always: a stand-in has no command to run';
const SPREAD = 'ignored: pods are spread evenly over the nodes that fit';
const APART = 'the pod is refused: pods of a local cluster are kept apart from the machine';

const POD: readonly Row[] = [
  { path: 'initContainers', when: ends, why: 'not run: marked as done', standIn: true },
  { path: 'volumes', when: filled, why: 'not mounted: stand-ins need no files', standIn: true },
  { path: 'affinity.podAffinity', when: filled, why: SPREAD },
  { path: 'affinity.podAntiAffinity', when: filled, why: SPREAD },
  {
    path: 'affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution',
    when: filled,
    why: SPREAD,
  },
  { path: 'topologySpreadConstraints', when: filled, why: SPREAD },
  { path: 'priorityClassName', why: 'ignored: every pod has the same priority' },
  { path: 'runtimeClassName', why: 'ignored: there is one runtime' },
  {
    path: 'schedulerName',
    when: isNot('default-scheduler'),
    why: 'its pods stay Pending: there is one scheduler',
  },
  { path: 'hostPID', when: is(true), why: APART },
  { path: 'hostIPC', when: is(true), why: APART },
  {
    path: 'restartPolicy',
    when: is('OnFailure', 'Never'),
    why: 'ignored: stand-ins do not end',
    standIn: true,
  },
  { path: 'activeDeadlineSeconds', why: 'ignored: stand-ins do not end', standIn: true },
  { path: 'ephemeralContainers', when: filled, why: 'not run' },
  { path: 'containers.*.lifecycle', when: filled, why: 'hooks are not run', standIn: true },
  { path: 'containers.*.securityContext.privileged', when: is(true), why: 'ignored: no pod is privileged' },
  { path: 'containers.*.livenessProbe.exec', why: EXEC_PROBE, standIn: true },
  { path: 'containers.*.readinessProbe.exec', why: EXEC_PROBE, standIn: true },
  { path: 'containers.*.startupProbe.exec', why: EXEC_PROBE, standIn: true },
  {
    path: 'containers.*.resources.limits',
    when: filled,
    why: 'stored, not enforced',
    standIn: true,
  },
];

const prefixed = (prefix: string): Row[] => POD.map((row) => ({ ...row, path: `${prefix}.${row.path}` }));

/** Without a proxy nobody asks them. */
const MESH: readonly Row[] = [{ path: 'spec', why: 'stored, not enforced yet; heddle policy answers by it' }];

const asks = (value: unknown): boolean => isObject(value) && Object.values(value).some(filled);

/** What policies of Cilium's say and data paths cannot do alone. */
const CILIUM: readonly Row[] = ['spec', 'specs.*'].flatMap((body): Row[] => [
  ...['ingress', 'egress'].flatMap((direction): Row[] => [
    {
      path: `${body}.${direction}.*.toPorts.*.rules`,
      when: asks,
      why: 'there is no proxy yet: the data path denies all requests; heddle policy answers for them',
    },
    {
      path: `${body}.${direction}.*.authentication.mode`,
      when: isNot('disabled'),
      why: 'nobody can prove who he is yet: the data path denies the connections',
    },
  ]),
  {
    path: `${body}.egress.*.toFQDNs`,
    when: filled,
    why: 'the data path does not learn names yet, and none is allowed; heddle policy answers for known ones',
  },
]);

const TABLE: Readonly<Record<string, readonly Row[]>> = {
  CiliumNetworkPolicy: CILIUM,
  CiliumClusterwideNetworkPolicy: CILIUM,
  Pod: prefixed('spec'),
  Deployment: prefixed('spec.template.spec'),
  ReplicaSet: prefixed('spec.template.spec'),
  AuthorizationPolicy: MESH,
  PeerAuthentication: MESH,
};

/** Kinds whose absence changes what the application does get more than "not acted on". */
const KINDS: Readonly<Record<string, string>> = {
  Ingress: 'no way in from outside is made',
  Gateway: 'no way in from outside is made',
  HorizontalPodAutoscaler: 'the number of pods stays as written',
  StatefulSet: 'its pods are not started',
  DaemonSet: 'its pods are not started',
  Job: 'its pods are not started',
  CronJob: 'its pods are not started',
  PersistentVolumeClaim: 'stand-ins need no files',
  CustomResourceDefinition: 'its objects cannot be stored',
  Kustomization: 'render it first: kubectl kustomize DIR | heddle apply -f -',
};

/** Kind and path of every row, for a test that holds them against the field lists. */
export const rowPaths = (): [kind: string, path: string][] =>
  Object.entries(TABLE).flatMap(([kind, rows]) => rows.map(({ path }): [string, string] => [kind, path]));

/** Everything in the manifests that is not acted on, in their order. `runtime`: of pods that ask for none. */
export function findUnsupported(entries: readonly ManifestObject[], runtime?: string): Unsupported[] {
  return entries.flatMap((entry) => {
    const { object, file } = entry;
    const name = objectName(object);
    const report = (line: number, why: string, skipped: boolean, path?: string): Unsupported => ({
      file,
      line,
      object: name,
      why,
      skipped,
      ...(path === undefined ? {} : { path }),
    });
    if (!findKind(object.apiVersion, object.kind)) return [report(entry.line, kindReason(entry), true)];
    const template = podTemplateOf(object);
    const runs =
      template !== undefined && ['process', 'oci', 'cri'].includes(askedRuntime(template) ?? runtime ?? '');
    const rows = (TABLE[object.kind] ?? []).filter(({ standIn }) => !(standIn && runs));
    return rows.flatMap((row) =>
      matches(object, row.path.split('.'), '')
        .filter(({ value }) => value !== undefined && value !== null && (row.when?.(value) ?? true))
        .map(({ path }) => report(entry.lineOf(path), row.why, false, path)),
    );
  });
}

function kindReason({ object }: ManifestObject): string {
  const served = servedVersion(object.kind);
  if (served !== undefined && served !== object.apiVersion)
    return `skipped: this version of Heddle knows ${object.kind} as ${served}, not as ${object.apiVersion}`;
  const more = Object.hasOwn(KINDS, object.kind) ? `: ${KINDS[object.kind]}` : '';
  return `skipped: this version of Heddle does not act on ${object.apiVersion} ${object.kind}${more}`;
}

/** The values at a path with `*`, each with its own path. */
function matches(value: unknown, keys: readonly string[], path: string): { path: string; value: unknown }[] {
  const [key, ...rest] = keys;
  if (key === undefined) return [{ path, value }];
  if (key === '*')
    return Array.isArray(value) ? value.flatMap((item, i) => matches(item, rest, `${path}[${i}]`)) : [];
  if (!isObject(value) || !Object.hasOwn(value, key)) return [];
  return matches(value[key], rest, path === '' ? key : `${path}.${key}`);
}

/** `shop/web.yaml:7: Service shop/web: spec.type: no outside address is made` */
export function unsupportedText(entry: Unsupported): string {
  const field = entry.path === undefined ? '' : `${entry.path}: `;
  return `${entry.file}:${entry.line}: ${entry.object}: ${field}${entry.why}`;
}

/** One line per reason, with where it was seen first and how often: for applications of many objects. */
export function summariseUnsupported(entries: readonly Unsupported[]): string[] {
  const groups = new Map<string, Unsupported[]>();
  for (const entry of entries) {
    const key = `${entry.path?.replace(/\[\d+\]/g, '[]').replace(/^spec\.template\./, '') ?? ''} ${entry.why}`;
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  return [...groups.values()].map((group) => {
    const [first] = group;
    const more = group.length > 1 ? ` (and ${group.length - 1} more like it)` : '';
    return first ? unsupportedText(first) + more : '';
  });
}
