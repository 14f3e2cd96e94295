import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPlan } from './plan.ts';
import type { Settings } from './tables.ts';

const settings: Settings = {
  node: 'n',
  nodeAddresses: ['192.0.2.1', '2001:db8::1'],
  podCidrs: ['10.0.0.0/16'],
  serviceCidrs: ['10.96.0.0/16'],
  underlayCidrs: ['192.0.2.0/24'],
} as unknown as Settings;

const web = (ports: { hostPort: number; containerPort: number; protocol: string; hostIP?: string }[]) => [
  { pod: 'shop/web', addresses: ['10.0.0.7', 'fd00::7'], ports },
];

test('a host port is a node port of every address of the node, with the pod alone behind it, and goes with the pod', () => {
  const plan = createPlan({ node: 'n' });
  plan.setHostPorts(web([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]));
  plan.update();
  assert.equal(plan.state.services.size, 0, 'not before the node knows its addresses');
  plan.setSettings(settings);
  plan.update();
  const four = plan.state.services.get('192.0.2.1|TCP|8080');
  assert.deepEqual(four?.externalBackends, [{ address: '10.0.0.7', port: 80, local: true }]);
  assert.equal(four?.service, 'shop/pod:web');
  assert.equal(plan.state.services.get('2001:db8::1|TCP|8080')?.backends[0]?.address, 'fd00::7');
  assert.equal(plan.state.services.size, 2);
  plan.setHostPorts([]);
  assert.equal(plan.update().filter(({ value }) => value === undefined).length, 2);
  assert.equal(plan.state.services.size, 0);
});

test('hostIP picks an address or a family; one that is not the node’s is said', () => {
  const plan = createPlan({ node: 'n' });
  plan.setSettings(settings);
  const port = { hostPort: 53, containerPort: 5353, protocol: 'UDP' };
  const keys = (hostIP: string) => {
    plan.setHostPorts(web([{ ...port, hostIP }]));
    plan.update();
    return [...plan.state.services.keys()];
  };
  assert.deepEqual(keys('::'), ['2001:db8::1|UDP|53']);
  assert.deepEqual(keys('192.0.2.1'), ['192.0.2.1|UDP|53']);
  assert.deepEqual(keys('127.0.0.1'), []);
  const [problem] = plan.problems({ name: 'x', capabilities: {} as never });
  assert.match(
    `${problem?.object} ${problem?.message}`,
    /Pod shop\/web 127\.0\.0\.1 is no address of this node/,
  );
});
