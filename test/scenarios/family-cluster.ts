/** What scenarios of families ask of a cluster: its objects, its DNS, and who answers whom. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCgroup2Mount } from '../../src/kernel/cgroup.ts';
import { execute, type LocalCluster } from './local-cluster.ts';

export type Family = 4 | 6;

export interface Pod {
  metadata: { name: string; namespace: string; uid: string; labels?: Record<string, string> };
  spec: { nodeName: string };
  status: {
    podIP: string;
    podIPs: { ip: string }[];
    hostIP: string;
    hostIPs: { ip: string }[];
    containerStatuses: { ready: boolean; restartCount: number }[];
  };
}

export interface Service {
  metadata: { name: string };
  spec: {
    clusterIP: string;
    clusterIPs: string[];
    ipFamilies: string[];
    ipFamilyPolicy: string;
    ports: { port: number; nodePort?: number }[];
  };
  status: { loadBalancer: { ingress?: { ip: string }[] } };
}

export interface Things {
  readonly cluster: LocalCluster;
  /** Of the cluster, the first one first. */
  readonly families: readonly Family[];
  /** One on each node, in the nodes' order. */
  readonly servers: readonly Pod[];
  pod(name: string): Pod;
  service(name: string): Service;
}

export const OUTSIDE: Record<Family, string> = { 4: '10.240.0.254', 6: 'fd00:10:240::fe' };
export const DNS: Record<Family, string> = { 4: '10.96.0.10', 6: 'fd00:10:96::a' };
export const NODES: Record<Family, readonly [string, string]> = {
  4: ['10.240.0.1', '10.240.0.2'],
  6: ['fd00:10:240::1', 'fd00:10:240::2'],
};

export const addressesOf = ({ status }: Pod): string[] => status.podIPs.map(({ ip }) => ip);
export const balancedAt = ({ status }: Service): string[] =>
  (status.loadBalancer.ingress ?? []).map(({ ip }) => ip);

export const isSix = (address: string): boolean => address.includes(':');
export const familyOf = (address: string): Family => (isSix(address) ? 6 : 4);
export const familiesOf = (addresses: readonly string[]): Family[] => addresses.map(familyOf);
export const of = (family: Family, addresses: readonly string[]): string[] =>
  addresses.filter((address) => familyOf(address) === family).toSorted();
const urlOf = (host: string, port: number): string => `http://${isSix(host) ? `[${host}]` : host}:${port}/`;

/** Until it holds, for a minute and a half at most: what agents and controllers do takes a moment. */
export async function holds(check: () => Promise<void>): Promise<void> {
  const end = performance.now() + 90_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(200);
    }
  }
}

export async function listed<T>(cluster: LocalCluster, ...what: string[]): Promise<T[]> {
  return (JSON.parse(await cluster.must('get', ...what, '-o', 'json')) as { items: T[] }).items;
}

/** Who answered, and who it saw; `undefined`: nobody did. */
export interface Answer {
  readonly pod: string;
  readonly node: string;
  readonly peer: string;
}

// One line for each, written at once: they are asked side by side.
const ASK = 'for url; do (echo "$url $(curl -s -m "$0" "$url")") & done; wait';

// What runs on a node is in its cgroup, where sockets meet the data path's hooks.
const ENTER = '[ -z "$0" ] || echo $$ >"$0/cgroup.procs" && exec nsenter "$@"';

function placeOf({ paths }: LocalCluster, from: string): [cgroup: string, netns: string] {
  const netns = `--net=${paths.netns(from)}`;
  if (from === 'outside') return ['', netns];
  const cgroup = join(findCgroup2Mount() ?? '', paths.node(from).cgroup, 'asks');
  mkdirSync(cgroup, { recursive: true });
  return [cgroup, netns];
}

export type Ask = (host: string, port: number) => Answer | undefined;

/** From a pod, by `heddle exec`; `outside` and nodes by name: from there. */
export async function ask(
  cluster: LocalCluster,
  from: string,
  targets: readonly (readonly [host: string, port: number])[],
  seconds = 10,
): Promise<Ask> {
  const command = ['sh', '-c', ASK, String(seconds), ...targets.map(([host, port]) => urlOf(host, port))];
  const { code, stdout, stderr } =
    from === 'outside' || from.startsWith('node-')
      ? await execute('sh', ['-c', ENTER, ...placeOf(cluster, from), ...command])
      : await cluster.heddle('exec', from, '--', ...command);
  assert.equal(code, 0, stderr);
  const answers = new Map(
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf(' ')), answerIn(line.slice(line.indexOf(' ') + 1))]),
  );
  assert.equal(answers.size, new Set(targets.map(([host, port]) => urlOf(host, port))).size, stdout);
  return (host, port) => answers.get(urlOf(host, port));
}

function answerIn(text: string): Answer | undefined {
  if (text === '') return undefined;
  const { pod, node, peer } = JSON.parse(text) as { pod: string; node: string; peer: { address: string } };
  return { pod, node, peer: peer.address };
}

export interface Names {
  /** `NOERROR`, `NXDOMAIN`, … */
  readonly status: string;
  /** What the records of the type asked say, sorted. */
  readonly records: readonly string[];
}

/** What a pod's own resolver settings lead to, or a server that is named. Questions: `NAME TYPE`, or an address for its names. */
export async function lookUp(
  cluster: LocalCluster,
  pod: string,
  questions: readonly string[],
  server?: string,
): Promise<Names[]> {
  const words = questions.flatMap((question) => {
    const [name = '', type] = question.split(' ');
    const asked = type === undefined ? ['-x', name] : ['-q', name, '-t', type];
    return server === undefined ? asked : [`@${server}`, ...asked];
  });
  const out = await cluster.must('exec', pod, '--', 'dig', '+noall', '+comments', '+answer', ...words);
  const answers = out.split(';; Got answer:').slice(1);
  assert.equal(answers.length, questions.length, out);
  return answers.map((text) => ({
    status: /status: (\w+)/.exec(text)?.[1] ?? '',
    records: [...text.matchAll(/^[^;\s]\S*\s+\d+\s+IN\s+\w+\s+(.*)$/gm)]
      .map(([, data = '']) => data)
      .toSorted(),
  }));
}
