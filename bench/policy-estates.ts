/** A made-up cluster for whole-world questions: 1,000 workloads in 50 namespaces with 1,000 policies, 1,000 roles. */
import type { NetworkPolicy } from '../src/api/types.ts';
import { createEstate, type Estate } from '../src/policy/analyse/estate.ts';
import type { WorldPod } from '../src/policy/world.ts';

export const WORKLOADS = 1000;
const NAMESPACES = 50;
const TIERS = ['web', 'api', 'db', 'batch'] as const;

const namespaceOf = (i: number): string => `team-${i % NAMESPACES}`;
const tierOf = (i: number): string => TIERS[Math.floor(i / NAMESPACES) % TIERS.length]!;

const podOf = (i: number): WorldPod => ({
  namespace: namespaceOf(i),
  name: `app-${i}`,
  node: `node-${i % 100}`,
  labels: { app: `app-${i}`, tier: tierOf(i) },
  addresses: [`10.${128 + (i >> 8)}.${i & 255}.7`],
  ports: [
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'admin', port: 9000 + (i % 50), protocol: 'TCP' },
  ],
});

const labelled = (key: string, value: string) => ({ matchLabels: { [key]: value } });

/** Each selects one workload: some of its namespace, a tier of two others, a block, by number, name and range. */
function policyOf(i: number, port: number): NetworkPolicy {
  const there = (step: number) => ({
    namespaceSelector: labelled('kubernetes.io/metadata.name', namespaceOf(i + step)),
  });
  const friends = [
    { ...there(7), podSelector: labelled('tier', tierOf(i * 7)) },
    { ...there(13), podSelector: labelled('app', `app-${(i + 13) % WORKLOADS}`) },
  ];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: namespaceOf(i), name: `policy-${i}` },
    spec: {
      podSelector: labelled('app', `app-${i}`),
      policyTypes: i % 3 === 0 ? ['Ingress', 'Egress'] : ['Ingress'],
      ingress: [
        { from: [{ podSelector: {} }, ...friends], ports: [{ port: 'http' }, { port }] },
        {
          from: [
            {
              ipBlock: {
                cidr: `172.${16 + (i % 16)}.0.0/16`,
                except: [`172.${16 + (i % 16)}.${i & 255}.0/24`],
              },
            },
          ],
          ports: [{ port: 8000 + (i % 97), endPort: 8200 + (i % 89) }],
        },
        { from: [{ namespaceSelector: labelled('team', 'platform') }] },
      ],
      egress: [{ to: [{ namespaceSelector: {} }], ports: [{ port: 'http' }, { protocol: 'UDP', port: 53 }] }],
    },
  };
}

/** @param changed so many of the policies say another port */
export function makeEstate(workloads: number, changed = 0): Estate {
  const numbers = Array.from({ length: workloads }, (_, i) => i);
  const namespaces = Array.from({ length: NAMESPACES }, (_, i) => ({
    name: `team-${i}`,
    labels: { team: i < 3 ? 'platform' : 'product' },
  }));
  const world = {
    pods: numbers.map(podOf),
    namespaces,
    nodes: [],
    policies: numbers.map((i) => policyOf(i, 9000 + (i % 50) + (i < changed ? 1000 : 0))),
  };
  return createEstate(world, (pod) => ({ kind: 'Deployment', name: pod.name }));
}
