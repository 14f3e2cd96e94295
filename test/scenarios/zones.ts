/** Clusters of nodes in zones, as files, with a pod on each node. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome } from './local-cluster.ts';

/** By node. */
export type Zones = Readonly<Record<string, string>>;

export interface ClusterFiles {
  /** Writes the file of the cluster with this link between zones a and b, and says where. */
  write(link: string, zones?: Zones): string;
}

const podOn = (node: string): string => `---
apiVersion: v1
kind: Pod
metadata: { name: on-${node}, labels: { app: echo } }
spec:
  nodeName: ${node}
  containers: [{ name: echo, image: registry.example/echo:1.0, ports: [{ containerPort: 8080 }] }]
`;

export function clusterFiles(t: TestContext, name: string, zones: Zones): ClusterFiles {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-zones-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'pods.yaml'), Object.keys(zones).map(podOn).join(''));
  return {
    write(link, placed = zones) {
      const nodes = Object.entries(placed).map(([node, zone]) => `    - { name: ${node}, zone: ${zone} }\n`);
      const path = join(folder, 'cluster.yaml');
      writeFileSync(
        path,
        `apiVersion: heddle.dev/v1alpha1
kind: Cluster
metadata: { name: ${name} }
spec:
  standIn: true
  detach: true
  nodes:
${nodes.join('')}  links:
    - { between: [a, b], ${link} }
  manifests: [pods.yaml]
`,
      );
      return path;
    },
  };
}

export interface ZonePod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIPs: readonly { readonly ip: string }[] };
}

type Must = (...args: string[]) => Promise<string>;

/** By node. */
export async function podsOf(must: Must): Promise<Map<string, ZonePod>> {
  const { items } = JSON.parse(await must('get', 'pods', '-o', 'json')) as { items: ZonePod[] };
  return new Map(items.map((pod) => [pod.spec.nodeName, pod]));
}

const urlOf = (ip: string): string => `http://${ip.includes(':') ? `[${ip}]` : ip}:8080/`;

/** One request from the pod of a node to that of another, at each of its addresses. @throws where one fails */
export async function reaches(must: Must, from: string, to: ZonePod): Promise<void> {
  for (const { ip } of to.status.podIPs)
    await must('exec', `on-${from}`, '--', 'curl', '-sS', '--max-time', '30', urlOf(ip));
}

export const tries = (
  heddle: (...args: string[]) => Promise<Outcome>,
  from: string,
  to: ZonePod,
): Promise<Outcome> =>
  heddle('exec', `on-${from}`, '--', 'curl', '-sS', '-m', '2', urlOf(to.status.podIPs[0]?.ip ?? ''));

/** Asks until it is so, for two minutes at most. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  isSo: (answer: T) => boolean,
): Promise<T> {
  let answer = await ask();
  for (let i = 0; i < 240 && !isSo(answer); i++) {
    await sleep(500);
    answer = await ask();
  }
  if (!isSo(answer)) throw new Error(`${what} did not come to pass; last seen: ${JSON.stringify(answer)}`);
  return answer;
}
