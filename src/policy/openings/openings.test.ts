import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KubeObject } from '../../api/types.ts';
import { parseAddress } from '../../lib/ip.ts';
import { createEstate } from '../analyse/estate.ts';
import { createDecider } from '../decide.ts';
import { worlds } from '../testing/arbitraries.ts';
import { type Flow, podKey, type World, type WorldPod } from '../world.ts';
import { isOpener, openerProblems } from './kinds.ts';
import { openings } from './openings.ts';

/** A node port for each port of each pod, which a label of its own picks. */
function withServices(world: World): { world: World; services: KubeObject[] } {
  const pods = world.pods.map((pod): WorldPod => ({ ...pod, labels: { ...pod.labels, own: pod.name } }));
  const services = pods.map(({ namespace, name, ports }) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: {
      type: 'NodePort',
      selector: { own: name },
      ports: ports.map(({ port, protocol }, i) => ({ name: `p${i}`, port, protocol, nodePort: 30_000 + i })),
    },
  }));
  return { world: { ...world, pods }, services };
}

const CLIENTS = ['192.0.2.1', '8.8.4.4', '10.244.9.200', '1.1.1.1', '203.0.113.77', '255.255.255.255'];

test('who is let in by a node port is whom decide lets in, at any address outside', () => {
  const met = { open: 0, partly: 0, closed: 0 };
  fc.assert(
    fc.property(worlds, fc.array(fc.constantFrom(...CLIENTS), { minLength: 3 }), (drawn, clients) => {
      const { world, services } = withServices(drawn);
      const decide = createDecider(world);
      const known = new Set([
        ...world.pods.flatMap(({ addresses }) => addresses),
        ...world.nodes.flatMap(({ addresses, externalAddresses = [] }) => [
          ...addresses,
          ...externalAddresses,
        ]),
        ...(world.nodeLocal ?? []),
      ]);
      const told = openings(
        createEstate(world, () => undefined),
        services,
      );
      for (const { workload, protocol, port, verdict, ranges } of told.openings) {
        met[verdict]++;
        const [pod] = workload.pods;
        if (!pod?.addresses.some((address) => !address.includes(':')) || pod.hostNetwork) continue;
        for (const address of clients.filter((each) => !known.has(each))) {
          const { value } = parseAddress(address);
          const isIn = (ranges ?? []).some(
            ({ from, to }) => parseAddress(from).value <= value && value <= parseAddress(to).value,
          );
          const flow: Flow = { src: { address }, dst: { pod: podKey(pod) }, protocol, port };
          const expected = verdict === 'open' || (verdict === 'partly' && isIn) ? 'allow' : 'deny';
          assert.equal(decide(flow).verdict, expected, `${address} ${verdict}`);
        }
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(
    Object.values(met).every((count) => count > 10),
    JSON.stringify(met),
  );
});

const FIELDS = (
  'service port name number backend http paths rules backendRefs ports parentRefs listeners allowedRoutes namespaces ' +
  'from to selector filters requestMirror backendRef matches path hostnames type targetPort'
).split(' ');

const junk = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, 0, 80, 'web', 'Same', 'HTTP', true, -1),
    fc.array(tie('value'), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom(...FIELDS), tie('value'), { maxKeys: 4 }),
  ),
})).value;

test('whatever is in an object: it is refused, or read without harm', () => {
  const kinds = [
    ['v1', 'Service'],
    ['networking.k8s.io/v1', 'Ingress'],
    ['gateway.networking.k8s.io/v1', 'Gateway'],
    ['gateway.networking.k8s.io/v1', 'HTTPRoute'],
    ['gateway.networking.k8s.io/v1', 'ReferenceGrant'],
  ];
  const objects = fc.array(
    fc.tuple(fc.constantFrom(...kinds), junk).map(([[apiVersion, kind], spec]) => ({
      apiVersion: apiVersion ?? '',
      kind: kind ?? '',
      metadata: { namespace: 'a', name: 'web' },
      spec,
    })),
    { maxLength: 4 },
  );
  let read = 0;
  fc.assert(
    fc.property(objects, (list) => {
      assert.ok(list.every((each) => isOpener(each as KubeObject)));
      const sound = list.filter((each) => openerProblems(each as KubeObject).length === 0);
      read += sound.length;
      openings({ world: { pods: [], namespaces: [], nodes: [], policies: [] }, workloads: [] }, sound);
    }),
    { numRuns: 2000 },
  );
  assert.ok(read > 300, `${read}`);
});
