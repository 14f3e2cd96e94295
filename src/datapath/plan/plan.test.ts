import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { steps, type Step } from '../testing/plan-arbitraries.ts';
import { createPlan } from './plan.ts';
import { applyChanges, type Change, emptyState } from './tables.ts';

const run = (list: readonly Step[], updateEach: boolean) => {
  const plan = createPlan({ node: 'node-1' });
  const state = emptyState();
  const changes: Change[] = [];
  for (const step of list) {
    step.run(plan);
    if (updateEach) changes.push(...plan.update());
  }
  changes.push(...plan.update());
  applyChanges(state, changes);
  return { plan, state };
};

test('any sequence of updates leaves what a plan from the last objects has, in whatever order they come', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 25 }), fc.boolean(), (list, updateEach) => {
      const { plan, state } = run(list, updateEach);
      const last = new Map(list.map((step) => [step.object, step]));
      const fresh = run([...last.values()].reverse(), false);
      assert.deepEqual(plan.state, fresh.plan.state);
      assert.deepEqual(state, plan.state, 'the changes add up to the state');
    }),
    { numRuns: 300 },
  );
});

test('updating twice changes nothing', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 10 }), (list) => {
      const { plan } = run(list, false);
      for (const step of list.slice(-1)) step.run(plan);
      assert.deepEqual(plan.update(), []);
    }),
    { numRuns: 100 },
  );
});

const service = (spec: Service['spec'], name = 's'): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'x', name },
  spec,
});

type Endpoints = EndpointSlice['endpoints'];
const slice = (endpoints: Endpoints, more: Partial<EndpointSlice> = {}): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'x', name: 's-1' },
  addressType: 'IPv4',
  ports: [{ name: 'web', port: 8080, protocol: 'TCP' }],
  endpoints,
  ...more,
});

function backends(
  spec: Service['spec'],
  slices: EndpointSlice[],
  key = '10.96.0.1|TCP|80',
): string[] | undefined {
  const plan = createPlan({ node: 'node-1' });
  plan.setService(service(spec));
  plan.setSlices('x/s', slices);
  plan.update('service/x/s');
  return plan.state.services.get(key)?.backends.map(({ address, port }) => `${address}:${port}`);
}

const web: Service['spec'] = {
  clusterIP: '10.96.0.1',
  ports: [{ name: 'web', port: 80, targetPort: 'web' }],
};
const ending = { ready: false, serving: true, terminating: true };

test('ready endpoints are backends, at the port of their slice', () => {
  const slices = [
    slice([{ addresses: ['10.244.0.2'] }, { addresses: ['10.244.0.1'], conditions: { ready: false } }]),
  ];
  assert.deepEqual(backends(web, slices), ['10.244.0.2:8080']);
});

test('endpoints that end but serve are used when none is ready, and only then', () => {
  const last = { addresses: ['10.244.0.3'], conditions: ending };
  assert.deepEqual(backends(web, [slice([last])]), ['10.244.0.3:8080']);
  assert.deepEqual(backends(web, [slice([last, { addresses: ['10.244.0.1'] }])]), ['10.244.0.1:8080']);
  const gone = { addresses: ['10.244.0.4'], conditions: { ready: false, serving: false, terminating: true } };
  assert.deepEqual(backends(web, [slice([gone])]), []);
});

test('a service without slices has frontends that nobody serves', () =>
  assert.deepEqual(backends(web, []), []));

test('a slice serves the family of its addresses', () => {
  const dual = { ...web, clusterIPs: ['10.96.0.1', 'FD00:10:96:0::1'] };
  const slices = [
    slice([{ addresses: ['10.244.0.2'] }]),
    slice([{ addresses: ['fd00:10:244::0:2'] }], { addressType: 'IPv6' }),
  ];
  assert.deepEqual(backends(dual, slices), ['10.244.0.2:8080']);
  assert.deepEqual(backends(dual, slices, 'fd00:10:96::1|TCP|80'), ['fd00:10:244::2:8080']);
});

test('a port of another protocol with the same name is another port', () => {
  const both: Service['spec'] = {
    clusterIP: '10.96.0.1',
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ],
  };
  const ports = [
    { name: 'dns', port: 5353, protocol: 'UDP' as const },
    { name: 'dns-tcp', port: 5354, protocol: 'TCP' as const },
  ];
  const slices = [slice([{ addresses: ['10.244.0.2'] }], { ports })];
  assert.deepEqual(backends(both, slices, '10.96.0.1|UDP|53'), ['10.244.0.2:5353']);
  assert.deepEqual(backends(both, slices, '10.96.0.1|TCP|53'), ['10.244.0.2:5354']);
});

test('headless services and external names have no frontend', () => {
  assert.equal(backends({ ...web, clusterIP: 'None' }, []), undefined);
  assert.equal(backends({ ...web, type: 'ExternalName' }, []), undefined);
});

test('of two services with one cluster address the one whose name is least has it, and its loss frees it', () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setService(service(web, 'b'));
  plan.setService(service(web, 'a'));
  plan.update();
  assert.equal(plan.state.services.get('10.96.0.1|TCP|80')?.service, 'x/a');
  plan.removeService('x/a');
  const changes = plan.update();
  assert.equal(changes.length, 1);
  assert.equal(plan.state.services.get('10.96.0.1|TCP|80')?.service, 'x/b');
});

test('one endpoint more is one change', () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setService(service(web));
  plan.setSlices('x/s', [slice([{ addresses: ['10.244.0.2'] }])]);
  plan.update();
  plan.setSlices('x/s', [slice([{ addresses: ['10.244.0.2'] }, { addresses: ['10.244.0.3'] }])]);
  const changes = plan.update();
  assert.equal(changes.length, 1);
  assert.equal(changes[0]?.key, '10.96.0.1|TCP|80');
});

test('a node without ranges or addresses is no route yet', () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setNode({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-2' } });
  assert.deepEqual(plan.update(), []);
});

test('the route of another node follows its blocks, whichever is heard of first, and its first ones stay', () => {
  const node = {
    apiVersion: 'v1' as const,
    kind: 'Node' as const,
    metadata: { name: 'node-2' },
    spec: { podCIDRs: ['10.244.1.0/24'] },
    status: { addresses: [{ type: 'InternalIP' as const, address: '10.240.0.2' }] },
  };
  const plan = createPlan({ node: 'node-1' });
  const state = emptyState();
  const cidrs = () => {
    applyChanges(state, plan.update());
    return state.routes.get('node-2')?.podCidrs;
  };
  plan.setNodeBlocks('node-2', ['10.244.9.0/24']);
  assert.equal(cidrs(), undefined);
  plan.setNode(node);
  assert.deepEqual(cidrs(), ['10.244.1.0/24', '10.244.9.0/24']);
  plan.setNodeBlocks('node-2', ['10.244.7.0/24', '10.244.1.0/24']);
  assert.deepEqual(cidrs(), ['10.244.1.0/24', '10.244.7.0/24']);
  plan.setNodeBlocks('node-2', []);
  assert.deepEqual(cidrs(), ['10.244.1.0/24']);
});
