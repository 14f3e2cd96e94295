import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRoute } from '../kernel/route.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { needsRoot, testNetns } from '../kernel/test-netns.ts';
import { nodeSysctls, setUpNode } from './node-setup.ts';
import { createLab } from './testing/lab.ts';
import { dialTcp, dialUdp, serveTcp, serveUdp } from './testing/traffic.ts';

const DNS = ['10.96.0.10', 'fd00:10:96::a'];

test('a node is set up once; a second time writes no setting', { skip: needsRoot }, (t) => {
  const ns = testNetns(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  const writes: string[] = [];
  const deps = {
    readSysctl: (key: string) => readSysctl(ns, key),
    writeSysctl(key: string, value: string) {
      writes.push(key);
      writeSysctl(ns, key, value);
    },
    route,
  };
  setUpNode(deps, { dnsAddresses: DNS });
  assert.ok(writes.includes('net/ipv4/ip_forward'));
  assert.equal(readSysctl(ns, 'net/netfilter/nf_conntrack_tcp_be_liberal'), '1');
  for (const [key, value] of nodeSysctls(['lo'])) assert.equal(readSysctl(ns, key), value, key);
  writes.length = 0;
  setUpNode(deps, { dnsAddresses: DNS });
  assert.deepEqual(writes, []);
  const lo = route.addresses().map(({ address }) => address);
  for (const address of DNS)
    assert.ok(
      lo.some((each) => each.startsWith(`${address}/`)),
      lo.join(' '),
    );
});

test('pods reach what their node answers at the cluster DNS addresses', { skip: needsRoot }, async (t) => {
  const lab = createLab(t, 1);
  const node = lab.nodes[0]!;
  const pod = node.addPod('a');
  serveUdp(t, node.ns, DNS, 53, 'dns');
  serveTcp(t, node.ns, 53, 'dns');
  for (const address of DNS) {
    assert.equal((await dialUdp(pod.ns, address, 53)).server, 'dns');
    assert.equal((await dialTcp(pod.ns, address, 53)).server, 'dns');
  }
});
