import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SERVICE_NAME, SLICE_MANAGER } from '../api/labels.ts';
import type { EndpointSlice, Pod, Service } from '../api/types.ts';
import { desiredGroups, endpointKey, isManaged } from './endpointslice-desired.ts';
import { MAX_ENDPOINTS, type SlicePlan, planSlices } from './endpointslice-plan.ts';
import { podOf, readyNode, serviceOf } from './testing.ts';

const nodeOf = (name: string) => readyNode(name, {}, { 'topology.kubernetes.io/zone': 'a' });
let serial = 0;

/** The slices after a plan, as a server would store them. */
function apply(slices: readonly EndpointSlice[], plan: SlicePlan): EndpointSlice[] {
  const removed = new Set(plan.remove.map((slice) => slice.metadata.name));
  const updated = new Map(plan.update.map((slice) => [slice.metadata.name, slice] as const));
  const kept = slices
    .filter((slice) => !removed.has(slice.metadata.name))
    .map((slice) => updated.get(slice.metadata.name) ?? slice);
  const created = plan.create.map((slice) => ({
    ...slice,
    metadata: { ...slice.metadata, name: `${slice.metadata.generateName}${serial++}` },
  }));
  return [...kept, ...created];
}

const step = (service: Service, pods: readonly Pod[], slices: readonly EndpointSlice[]) =>
  planSlices(service, desiredGroups({ service, pods, nodeOf }), slices);

const settle = (service: Service, pods: readonly Pod[], slices: readonly EndpointSlice[] = []) =>
  apply(slices, step(service, pods, slices));

const writes = (plan: SlicePlan) => plan.create.length + plan.update.length + plan.remove.length;

const many = (count: number, parts = {}) =>
  Array.from({ length: count }, (_, i) =>
    podOf({
      name: `a-rather-long-name-of-a-pod-7c9d8b6f5-${i.toString(36).padStart(5, '0')}`,
      namespace: 'heddle-test-12345-shop',
      node: `node-${i % 5}`,
      ips: [`10.244.${i >> 8}.${i & 255}`, `fd00:10:244::${i.toString(16)}`],
      ...parts,
    }),
  );

const pod = fc.record({
  id: fc.nat(30),
  ready: fc.boolean(),
  deleting: fc.boolean(),
  named: fc.boolean(),
  finished: fc.boolean(),
  v6: fc.boolean(),
});

test('after any sequence of pod changes the slices hold exactly the endpoints, and a second look writes nothing', () => {
  const service = serviceOf({
    ipFamilies: ['IPv4', 'IPv6'],
    ports: [{ name: 'http', port: 80, targetPort: 'web', protocol: 'TCP' }],
  });
  fc.assert(
    fc.property(fc.array(fc.array(pod, { maxLength: 30 }), { minLength: 1, maxLength: 8 }), (rounds) => {
      let slices: EndpointSlice[] = [];
      for (const round of rounds) {
        const pods = new Map(round.map((one) => [one.id, asPod(one)])).values();
        const current = [...pods];
        slices = settle(service, current, slices);
        assertExact(service, current, slices);
        assert.equal(writes(step(service, current, slices)), 0);
      }
    }),
  );
});

function asPod(one: {
  id: number;
  ready: boolean;
  deleting: boolean;
  named: boolean;
  finished: boolean;
  v6: boolean;
}) {
  const made = podOf({
    name: `pod-${one.id}`,
    node: 'node-1',
    ips: [`10.244.0.${one.id}`, ...(one.v6 ? [`fd00::${one.id}`] : [])],
    ready: one.ready,
    deleting: one.deleting,
    phase: one.finished ? 'Succeeded' : 'Running',
    ports: [{ name: one.named ? 'web' : 'other', containerPort: 8080 }],
  });
  made.metadata.uid = `uid-${one.id}`;
  return made;
}

function assertExact(service: Service, pods: readonly Pod[], slices: readonly EndpointSlice[]): void {
  const seen: string[] = [];
  for (const slice of slices) {
    assert.ok((slice.endpoints ?? []).length <= MAX_ENDPOINTS);
    for (const endpoint of slice.endpoints ?? []) {
      const { ready, serving = ready, terminating = false } = endpoint.conditions ?? {};
      const port = slice.ports?.[0]?.port;
      seen.push(
        `${slice.addressType} ${endpoint.targetRef?.uid} ${endpoint.addresses.join()} ${port} ${ready} ${serving} ${terminating}`,
      );
    }
  }
  const wanted = pods
    .filter((one) => one.status?.phase === 'Running')
    .flatMap((one) => {
      const serving = one.status?.conditions?.[0]?.status === 'True';
      const ending = one.metadata.deletionTimestamp !== undefined;
      const port = one.spec?.containers[0]?.ports?.[0]?.name === 'web' ? 8080 : undefined;
      return (one.status?.podIPs ?? []).map(
        ({ ip }) =>
          `${ip?.includes(':') ? 'IPv6' : 'IPv4'} ${one.metadata.uid} ${ip} ${port} ${serving && !ending} ${serving} ${ending}`,
      );
    });
  assert.deepEqual(seen.sort(), wanted.sort());
  assert.ok(
    service.spec?.ipFamilies?.every((family) => slices.some((slice) => slice.addressType === family)),
  );
}

test('of 1,000 endpoints one change writes one slice of each family, and watchers get under 8 kB', () => {
  const pods = many(1000);
  const service = serviceOf({ ipFamilies: ['IPv4', 'IPv6'] });
  const slices = settle(service, pods).map((slice) => stored(slice));
  const changed = pods.map((one, i) => (i === 500 ? notReady(one) : one));
  const plan = step(service, changed, slices);
  assert.deepEqual([plan.create.length, plan.update.length, plan.remove.length], [0, 2, 0]);
  const bytes = plan.update.map((object) => JSON.stringify({ type: 'MODIFIED', object }).length + 1);
  assert.ok(bytes[0]! + bytes[1]! < 8000, `events of ${bytes.join(' and ')} bytes`);
  assert.equal(new Set(plan.update.map((slice) => slice.addressType)).size, 2);
});

/** What a server adds to an object. */
function stored(slice: EndpointSlice): EndpointSlice {
  const metadata = {
    ...slice.metadata,
    uid: '01234567-89ab-cdef-0123-456789abcdef',
    resourceVersion: '1234567890',
    generation: 12,
    creationTimestamp: '2026-01-01T00:00:00Z',
  };
  return { ...slice, metadata };
}

function notReady(one: Pod): Pod {
  const conditions = [{ type: 'Ready', status: 'False' }];
  return { ...one, status: { ...one.status, conditions } };
}

test('one pod replaced by another among 1,000 writes one slice', () => {
  const pods = many(1000);
  const service = serviceOf();
  const slices = settle(service, pods);
  const [, ...rest] = pods;
  const plan = step(service, [...rest, podOf({ node: 'node-1', ips: ['10.244.9.9'] })], slices);
  assert.equal(writes(plan), 1);
});

test('slices that empty out are merged when they are written, and deleted', () => {
  const pods = many(200);
  const service = serviceOf();
  const slices = settle(service, pods);
  const left = settle(
    service,
    pods.filter((_, i) => i % 20 === 0),
    slices,
  );
  assert.ok(left.length < slices.length / 2, `${left.length} of ${slices.length}`);
});

test('a service without pods has one empty slice a family, which the first pod replaces', () => {
  const service = serviceOf({ ipFamilies: ['IPv4', 'IPv6'] });
  const none = settle(service, []);
  assert.deepEqual(
    none.map((slice) => [slice.addressType, slice.endpoints?.length]),
    [
      ['IPv4', 0],
      ['IPv6', 0],
    ],
  );
  const some = settle(service, many(1), none);
  assert.deepEqual(
    some.map((slice) => [slice.endpoints?.length, slice.ports?.[0]?.port]),
    [
      [1, 8080],
      [1, 8080],
    ],
  );
});

test('services without a selector and ExternalNames are left alone', () => {
  assert.ok(!isManaged(serviceOf({ selector: undefined })));
  assert.ok(!isManaged(serviceOf({ selector: {} })));
  assert.ok(!isManaged(serviceOf({ type: 'ExternalName' })));
  assert.ok(isManaged(serviceOf()));
});

test('an endpoint says where it is and what it is', () => {
  const service = serviceOf({ clusterIP: 'None', publishNotReadyAddresses: true }, 'db');
  const one = podOf({ name: 'db-0', node: 'node-1', ips: ['10.244.1.5'], ready: false });
  one.spec = { ...one.spec!, hostname: 'db-0', subdomain: 'db' };
  const [slice] = settle(service, [one]);
  assert.deepEqual(slice?.endpoints, [
    {
      addresses: ['10.244.1.5'],
      conditions: { ready: true, serving: false, terminating: false },
      hostname: 'db-0',
      nodeName: 'node-1',
      targetRef: { kind: 'Pod', name: 'db-0', namespace: 'shop', uid: one.metadata.uid },
      zone: 'a',
    },
  ]);
  assert.equal(slice?.metadata.labels?.[SERVICE_NAME], 'db');
  assert.equal(slice?.metadata.labels?.[SLICE_MANAGER], 'endpointslice-controller.k8s.io');
  assert.equal(slice?.metadata.labels?.['service.kubernetes.io/headless'], '');
  assert.equal(slice?.metadata.ownerReferences?.[0]?.uid, service.metadata.uid);
});

test('pods that resolve a named port differently are in slices of their own', () => {
  const service = serviceOf({ ports: [{ port: 80, targetPort: 'web', protocol: 'TCP' }] });
  const pods = [8080, 9090].map((containerPort, i) =>
    podOf({ node: 'node-1', ips: [`10.244.0.${i}`], ports: [{ name: 'web', containerPort }] }),
  );
  const slices = settle(service, pods);
  assert.deepEqual(
    slices.map((slice) => slice.ports?.[0]?.port ?? 0).sort((a, b) => a - b),
    [8080, 9090],
  );
});

test('a change of the service itself reaches every slice', () => {
  const pods = many(30);
  const slices = settle(serviceOf(), pods);
  const labelled = serviceOf();
  labelled.metadata.labels = { team: 'x' };
  assert.equal(step(labelled, pods, slices).update.length, slices.length);
  const moved = settle(serviceOf({ ports: [{ name: 'http', port: 80, targetPort: 9090 }] }), pods, slices);
  assert.ok(moved.every((slice) => slice.ports?.[0]?.port === 9090));
  assert.equal(new Set(moved.flatMap((slice) => slice.endpoints!.map(endpointKey))).size, 30);
});

test('traffic distribution becomes hints', () => {
  const pods = [podOf({ node: 'node-1', ips: ['10.244.0.1'] })];
  const hints = (trafficDistribution?: string) =>
    settle(serviceOf({ trafficDistribution }), pods)[0]?.endpoints?.[0]?.hints;
  const forZones = [{ name: 'a' }];
  assert.equal(hints(), undefined);
  assert.deepEqual(hints('PreferClose'), { forZones });
  assert.deepEqual(hints('PreferSameZone'), { forZones });
  assert.deepEqual(hints('PreferSameNode'), { forNodes: [{ name: 'node-1' }], forZones });
});

test("weights of pods are on their slice, and a weight's change is one write", () => {
  const pods = many(3).map((pod, i) => {
    pod.metadata.annotations = i === 0 ? { 'heddle.dev/weight': '5' } : {};
    return pod;
  });
  const slices = settle(serviceOf(), pods);
  assert.equal(slices[0]?.metadata.annotations?.['heddle.dev/weights'], '10.244.0.0=5');
  assert.equal(writes(step(serviceOf(), pods, slices)), 0);
  pods[0]!.metadata.annotations = { 'heddle.dev/weight': '1' };
  pods[1]!.metadata.annotations = { 'heddle.dev/weight': '0' };
  const plan = step(serviceOf(), pods, slices);
  assert.equal(writes(plan), 1);
  assert.equal(plan.update[0]?.metadata.annotations?.['heddle.dev/weights'], '10.244.0.1=0');
  pods[1]!.metadata.annotations = { 'heddle.dev/weight': 'much' };
  assert.equal(settle(serviceOf(), pods, slices)[0]?.metadata.annotations, undefined);
});
