import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { inNetns } from '../kernel/netns.ts';
import { openRoute } from '../kernel/route.ts';
import { bindUdp } from '../kernel/sockets.ts';
import { needsRoot, testNetns } from '../kernel/test-netns.ts';
import { readLinkStats } from '../kernel/link-stats.ts';
import { readPodTraffic } from './pod-traffic.ts';

test('what a pod sent is counted at its own end, and one that is going is left out', {
  skip: needsRoot,
}, async (t) => {
  const [node, pod] = [testNetns(t), testNetns(t)];
  const [host, inside] = [openRoute(node), openRoute(pod)];
  t.after(() => [host, inside].forEach((route) => route.close()));
  host.addVeth({ name: 'hdpod', peer: { name: 'eth0', netns: pod } });
  host.setLink('hdpod', { ipv6Addresses: 'none', up: true });
  inside.setLink('eth0', { ipv6Addresses: 'none', up: true });
  inside.replaceAddress('eth0', '10.9.0.2/24');
  inside.replaceNeighbour({ dev: 'eth0', address: '10.9.0.1', mac: host.link('hdpod')?.mac ?? '' });
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  socket.bind({ fd: bindUdp(pod, '10.9.0.2', 0) });
  for (let i = 0; i < 5; i++) await new Promise((sent) => socket.send('x', 9, '10.9.0.1', sent));
  const at = { namespace: 'shop', addresses: [] };
  const [first, ...others] = await readPodTraffic([
    { ...at, name: 'web', interface: 'hdpod', netns: pod.path },
    { ...at, name: 'gone', interface: 'hdgone', netns: '/nonexistent/netns' },
  ]);
  assert.deepEqual(others, []);
  assert.equal(first?.interface, 'eth0');
  assert.equal(first.transmitted.packets, 5);
  const end = inNetns(node, () => readLinkStats()).find(({ name }) => name === 'hdpod');
  assert.deepEqual(first.transmitted, end?.received, 'the other end counts the same, turned round');
});
