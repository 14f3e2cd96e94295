/** Programs on the network of their node: what they have of it, and what they have not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectTcp } from '../kernel/sockets.ts';
import { readSysctl } from '../kernel/sysctl.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { importBusybox, ociPod } from './oci/testing.ts';
import { add, logOf, processPod, remove, sh } from './process/test-pods.ts';
import { createTestNode, eventually, isReady } from './test-node.ts';

/** Each line: what was tried, and 0 or how it failed. Abstract sockets are found by whoever is in the namespace. */
const TRIES = [
  'ip link set lo mtu 1400',
  'ip link add v0 type dummy',
  'ip addr add 10.9.0.77/32 dev lo',
  'ip route add 10.77.0.0/16 dev lo',
  'echo 0 > /proc/sys/net/ipv4/ip_forward',
];
const SCRIPT = [
  'hostname; cat /etc/resolv.conf',
  ...TRIES.map((line, i) => `(${line}) >/dev/null 2>&1 && echo "could: ${i}"`),
  "grep -c ' @' /proc/net/unix",
  'busybox httpd -p 10.9.0.1:53 -h /tmp 2>/dev/null && echo "could: listen for the node’s DNS"',
  'mkdir -p /tmp/w; echo here > /tmp/w/index.html; trap "exit 0" TERM; busybox httpd -f -p 81 -h /tmp/w & wait',
].join('\n');

test('programs on their node’s network listen and are probed there, change nothing of it, and leave it as it was', {
  skip: needsRoot,
}, async (t) => {
  const node = await createTestNode();
  t.after(() => node.close());
  await importBusybox(node, 'test/busybox:1');
  await node.startHost();
  const was = () => JSON.stringify([node.route.links(), node.route.addresses(), node.route.routes()]);
  const before = was();
  const open = () =>
    ['ip_unprivileged_port_start', 'ping_group_range'].map((key) => readSysctl(node.ns, `net.ipv4.${key}`));
  const first = open();
  const onNode = { hostNetwork: true, restartPolicy: 'Never' } as const;
  const readinessProbe = { tcpSocket: { port: 81 }, periodSeconds: 1 };
  const pods = [
    processPod('p', [sh('main', SCRIPT, { readinessProbe })], { ...onNode, dnsPolicy: 'ClusterFirst' }),
    processPod(
      'added',
      [
        sh('main', SCRIPT, {
          readinessProbe,
          securityContext: { runAsUser: 0, capabilities: { add: ['NET_RAW', 'NET_BIND_SERVICE'] } },
        }),
      ],
      { ...onNode, dnsPolicy: 'ClusterFirstWithHostNet' },
    ),
    ociPod('o', { command: ['sh', '-c', SCRIPT], readinessProbe }, { ...onNode, dnsPolicy: 'ClusterFirst' }),
  ];
  for (const pod of pods) {
    const { name, uid } = pod.metadata;
    add(node, pod);
    await eventually(`${name} is Ready`, () => isReady(node.pods.get(uid!)));
    const log = logOf(node, name);
    assert.match(log, /^node-1\n/, name);
    assert.equal(/nameserver 10\.96\.0\.10/.test(log), name === 'added', log);
    assert.doesNotMatch(log, /could: /, `${name} changes what is its node’s`);
    assert.match(log, /^0$/m, `${name} finds abstract sockets`);
    assert.equal(node.pods.get(uid!)!.status?.podIP, '10.9.0.1');
    // What is forwarded to it goes to the loopback of its namespace.
    assert.equal(node.host.find('shop', name)!.netns(), node.ns.path);
    const socket = await connectTcp(node.ns, { host: '127.0.0.1', port: 81, timeoutMs: 60_000 });
    socket.destroy();
    await remove(node, name);
    assert.equal(was(), before, name);
    assert.deepEqual(open(), first, `${name} leaves its node open`);
  }
});
