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

test('where tunnels end and paths are proved is no pod’s host port, and that is said', () => {
  const plan = createPlan({ node: 'n' });
  const set = (routing: Settings['routing']) => {
    plan.setSettings({ ...settings, tunnelPort: 8472, ...(routing ? { routing } : {}) });
    plan.update();
    return [...plan.state.services.keys()].filter((key) => key.startsWith('192'));
  };
  const ports = [8472, 6081, 7248].map((hostPort) => ({ hostPort, containerPort: 1, protocol: 'udp' }));
  plan.setHostPorts(web([...ports, { hostPort: 8472, containerPort: 1, protocol: 'TCP' }]));
  assert.deepEqual(set(undefined), ['192.0.2.1|UDP|6081', '192.0.2.1|TCP|8472']);
  assert.deepEqual(set({ sends: 'vxlan', accepts: ['vxlan', 'geneve'] }), ['192.0.2.1|TCP|8472']);
  const said = plan
    .problems({ name: 'x', capabilities: {} as never })
    .flatMap(({ message }) => /host port (\d+\/UDP) is the node's own/.exec(message)?.[1] ?? []);
  assert.deepEqual(said, ['8472/UDP', '6081/UDP', '7248/UDP']);
});
