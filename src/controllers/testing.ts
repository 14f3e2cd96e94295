/** For the controllers' tests: objects as a server would hold them, and a node that runs whatever it is given. */
import { NODE, POD } from '../api/kinds.ts';
import type { Deployment, Namespace, Node, Pod, ReplicaSet, Service } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import { createInformer } from '../client/informer.ts';
import type { Client } from '../client/types.ts';
import { silentLog } from '../lib/log.ts';

let serial = 0;
const fresh = (prefix: string) => `${prefix}-${(serial++).toString().padStart(5, '0')}`;

export const namespaceOf = (name: string): Namespace => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name },
  spec: { finalizers: ['kubernetes'] },
  status: { phase: 'Active' },
});

export const readyNode = (name: string, more: Partial<Node['spec']> = {}, labels = {}): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels, uid: `uid-${name}` },
  spec: { ...more },
  status: {
    allocatable: { pods: '1000' },
    conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:00Z' }],
  },
});

export interface PodParts {
  name?: string;
  namespace?: string;
  labels?: Record<string, string>;
  node?: string;
  ips?: readonly string[];
  ready?: boolean;
  /** Milliseconds since 1970 of the Ready condition. */
  since?: number;
  phase?: 'Failed' | 'Pending' | 'Running' | 'Succeeded';
  deleting?: boolean;
  owner?: ReplicaSet;
  ports?: { name?: string; containerPort: number; protocol?: 'TCP' | 'UDP' }[];
  created?: number;
}

const iso = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

export function podOf(parts: PodParts = {}): Pod {
  const { name = fresh('pod'), namespace = 'shop', labels = { app: 'web' }, ready = true } = parts;
  const { ips = [], since = 0, created = 0, owner } = parts;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels,
      uid: fresh('uid'),
      creationTimestamp: iso(created),
      resourceVersion: '1',
      ...(parts.deleting ? { deletionTimestamp: iso(0) } : {}),
      ...(owner
        ? {
            ownerReferences: [
              {
                apiVersion: 'apps/v1',
                kind: 'ReplicaSet',
                name: owner.metadata.name,
                uid: owner.metadata.uid ?? '',
                controller: true,
              },
            ],
          }
        : {}),
    },
    spec: {
      ...(parts.node ? { nodeName: parts.node } : {}),
      containers: [{ name: 'app', image: 'app', ports: parts.ports }],
    },
    status: {
      phase: parts.phase ?? (parts.node ? 'Running' : 'Pending'),
      podIP: ips[0],
      podIPs: ips.map((ip) => ({ ip })),
      conditions: [
        { type: 'Ready', status: ready && parts.node ? 'True' : 'False', lastTransitionTime: iso(since) },
      ],
    },
  };
}

export const replicaSetOf = (replicas: number, more: Partial<ReplicaSet['spec']> = {}): ReplicaSet => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name: 'web', namespace: 'shop', uid: 'uid-web', generation: 1 },
  spec: {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'app', image: 'app' }] },
    },
    ...more,
  },
});

export const deploymentOf = (replicas: number, more: Partial<Deployment['spec']> = {}): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop', uid: 'uid-deployment', generation: 1 },
  spec: {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ name: 'app', image: 'app:1' }] },
    },
    ...more,
  },
});

export const serviceOf = (more: Partial<Service['spec']> = {}, name = 'web'): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', uid: `uid-service-${name}` },
  spec: {
    clusterIP: '10.96.0.20',
    ipFamilies: ['IPv4'],
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
    ...more,
  },
});

export interface FakeNodes {
  run(signal: AbortSignal): Promise<void>;
  /** While true, pods come up but do not get ready. */
  sick: boolean;
}

/** Plays every node: pods that are bound get addresses and run; pods that are asked to end are gone. */
export function createFakeNodes(client: Client): FakeNodes {
  const informer = createInformer(client, POD, { log: silentLog });
  let next = 1;
  const nodes: FakeNodes = {
    sick: false,
    run: (signal) => informer.run(signal),
  };
  const ignoreGone = (error: unknown) => {
    if (!isNotFound(error)) throw error;
  };
  informer.onChange((_key, pod) => {
    if (!pod?.spec?.nodeName) return;
    const { name, namespace } = pod.metadata;
    if (pod.metadata.deletionTimestamp) {
      void client.delete(POD, name, namespace, { gracePeriodSeconds: 0 }).catch(ignoreGone);
      return;
    }
    const ready = pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');
    if (pod.status?.podIP && (ready || nodes.sick)) return;
    const n = pod.status?.podIP ? undefined : next++;
    const podIPs = n
      ? [{ ip: `10.244.${n >> 8}.${n & 255}` }, { ip: `fd00:10:244::${n.toString(16)}` }]
      : pod.status?.podIPs;
    const status = {
      phase: 'Running',
      podIP: podIPs?.[0]?.ip,
      podIPs,
      conditions: [
        { type: 'Ready', status: nodes.sick ? 'False' : 'True', lastTransitionTime: iso(Date.now()) },
      ],
    };
    void client
      .patch(POD, name, namespace, { status }, { subresource: 'status', type: 'strategic' })
      .catch(ignoreGone);
  });
  return nodes;
}

export async function addNodes(client: Client, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const node = readyNode(name);
    const { uid: _, ...metadata } = node.metadata;
    await client.create(NODE, { ...node, metadata });
    // A patch: the node ranges controller may write the node between the two.
    await client.patch(NODE, name, undefined, { status: node.status }, { subresource: 'status' });
  }
}
