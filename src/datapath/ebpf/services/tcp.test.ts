import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectTcp } from '../../../kernel/sockets.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import type { Netns } from '../../../kernel/netns.ts';
import { dialTcp, serveTcp } from '../../testing/traffic.ts';
import { backendsOf, createRig, frontend, type Rig } from './testing/rig.ts';

const PORT = 7000;

function servers(t: Parameters<typeof serveTcp>[0], rig: Rig): void {
  for (const pod of rig.pods) serveTcp(t, pod.ns, PORT, pod.name);
}

/** Who answers how often. */
async function draw(ns: Netns, host: string, count: number): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const { server, why } = await dialTcp(ns, host, 80, { timeoutMs: 2000 });
    const name = server ?? why ?? '';
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  return seen;
}

const everybody = ['pod-0', 'pod-1', 'pod-2'];

test('a service is reached in IPv4, IPv6 and IPv4-mapped IPv6, and is who the client says it talks to', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t);
  servers(t, rig);
  rig.serve(
    frontend('10.96.0.1', backendsOf(rig.pods, PORT)),
    frontend('fd00:10:96::1', backendsOf(rig.pods, PORT, 6)),
  );
  const client = rig.pods[0]?.ns;
  assert.ok(client);
  for (const ns of [client, rig.node.ns])
    for (const host of ['10.96.0.1', 'fd00:10:96::1', '::ffff:10.96.0.1']) {
      const seen = await draw(ns, host, 40);
      assert.deepEqual([...seen.keys()].toSorted(), everybody, host);
      const socket = await connectTcp(ns, { host, port: 80 });
      assert.equal(socket.remoteAddress, host);
      assert.equal(socket.remotePort, 80);
      socket.destroy();
    }
});

test('a pod reaches itself through its service', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 1 });
  servers(t, rig);
  const [pod] = rig.pods;
  assert.ok(pod);
  rig.serve(frontend('10.96.0.1', backendsOf(rig.pods, PORT)));
  const answer = await dialTcp(pod.ns, '10.96.0.1', 80);
  assert.deepEqual(answer, { server: 'pod-0', seen: pod.addresses[0] });
});

test('what nobody serves is refused, dropped or left alone', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 1 });
  servers(t, rig);
  const [pod] = rig.pods;
  assert.ok(pod);
  rig.serve(
    frontend('10.96.0.1', []),
    frontend('10.96.0.2', [], { whenEmpty: 'drop' }),
    frontend('10.96.0.4', [{ address: pod.addresses[0], port: PORT, weight: 0 }]),
  );
  const why = async (host: string, port = 80) => (await dialTcp(pod.ns, host, port)).why;
  assert.equal(await why('10.96.0.1'), 'ECONNREFUSED');
  assert.equal(await why('10.96.0.1', 81), 'ECONNREFUSED', 'another port of a service');
  assert.equal(await why('10.96.0.3'), 'ECONNREFUSED', 'an address of the range that no service has');
  assert.equal(await why('fd00:10:96::3'), 'ECONNREFUSED');
  assert.equal(await why('10.96.0.4'), 'ECONNREFUSED', 'the only backend drains');
  assert.notEqual(await why('10.96.0.2'), 'ECONNREFUSED', 'silence is the drop of others');
  assert.equal((await dialTcp(pod.ns, pod.addresses[0], PORT)).server, 'pod-0', 'not by a service');
});

test('a kernel without bpf_set_retval refuses with EPERM', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 1, globals: { can_set_retval: 0 } });
  const [pod] = rig.pods;
  assert.ok(pod);
  rig.serve(frontend('10.96.0.1', []));
  assert.equal((await dialTcp(pod.ns, '10.96.0.1', 80)).why, 'EPERM');
});

test('sockets of other namespaces are left alone', { skip: needsRoot }, async (t) => {
  const rig = createRig(t);
  servers(t, rig);
  rig.serve(frontend('10.96.0.1', backendsOf(rig.pods, PORT)));
  const [, other] = rig.pods;
  assert.ok(other);
  assert.ok((await dialTcp(other.ns, '10.96.0.1', 80)).server);
  rig.apply({ table: 'pods', key: other.key, value: undefined });
  assert.notEqual((await dialTcp(other.ns, '10.96.0.1', 80)).why, undefined);
});

test('node ports, balancer and external addresses are translated as cluster addresses are', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t);
  servers(t, rig);
  const addresses = {
    NodePort: rig.node.settings.nodeAddresses[0] ?? '',
    LoadBalancer: '203.0.113.1',
    ExternalIP: '203.0.113.2',
  };
  const inside = backendsOf(rig.pods, PORT);
  for (const [kind, address] of Object.entries(addresses)) {
    rig.serve(
      frontend(address, inside, {
        kind: kind as keyof typeof addresses,
        externalBackends: inside.slice(0, 1),
      }),
    );
    const seen = await draw(rig.pods[1]?.ns ?? rig.node.ns, address, 40);
    assert.deepEqual([...seen.keys()].toSorted(), everybody, 'the inside view has all');
  }
});

test('a backend that drains gets no new connection and keeps what it has', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 2 });
  servers(t, rig);
  const [first, second] = backendsOf(rig.pods, PORT);
  assert.ok(first && second);
  rig.serve(frontend('10.96.0.1', [first]));
  const socket = await connectTcp(rig.node.ns, { host: '10.96.0.1', port: 80 });
  rig.serve(frontend('10.96.0.1', [{ ...first, weight: 0 }, second]));
  assert.deepEqual([...(await draw(rig.node.ns, '10.96.0.1', 20)).keys()], ['pod-1']);
  const [greeting] = (await new Promise<Buffer>((resolve) => socket.once('data', resolve)))
    .toString()
    .split(' ');
  assert.equal(greeting, 'pod-0');
  assert.equal(socket.remoteAddress, '10.96.0.1');
  socket.destroy();
});
