import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { guardsContract, sendTo, wrapped } from '../testing/guards.ts';
import { GATEWAYS, type LabPod } from '../testing/lab.ts';
import { settled, witness } from '../testing/packets.ts';
import { dialUdp, serveUdp } from '../testing/traffic.ts';
import { GENEVE_PORT } from '../routing.ts';
import { vtepMac } from '../vtep.ts';
import { frame } from './core/testing/frames.ts';
import { datagram, rawWriter } from './core/testing/raw.ts';

const options = { skip: needsRoot };
const [OK, SHOT] = [0, 2];

guardsContract('ebpf', openEbpf);

test('in a change between two tunnels the end of neither is a backend', options, async (t) => {
  const { lab, pod, setFrontends, backends } = await createCluster(t, openEbpf);
  const [node] = lab.nodes;
  const a = pod('a');
  const { programs, drops } = backends[0]!;
  // Not by the plan: that would make a link, which needs a kernel that has GENEVE.
  const settings = programs.map('edge_settings');
  const codec = programs.codec<Record<string, number>>('struct edge_settings');
  const key = Buffer.alloc(4);
  const now = codec.decode(settings.lookup(key)!);
  settings.update(
    key,
    codec.encode({ ...now, tunnel_port2: ((GENEVE_PORT & 0xff) << 8) | (GENEVE_PORT >> 8) }),
  );
  const dropped = () => drops?.().get('tunnel')?.packets ?? 0;
  const raw = rawWriter(t, a);
  const [v4 = '', v6 = ''] = node!.settings.nodeAddresses;
  for (const [i, target] of [4789, GENEVE_PORT].entries()) {
    const addresses = serviceAddresses(20 + i);
    const pods = [{ ...a, addresses: [v4, v6] as const }];
    await setFrontends([{ kind: 'ClusterIP', protocol: 'UDP', port: 9000, target, addresses, pods }]);
    const before = dropped();
    raw(datagram(a, addresses[0], 9000, Buffer.from('x')));
    assert.equal(dropped() - before, 1, `port ${target}`);
  }
});

test(
  'a pod reaches the end of a tunnel neither at an address that its node answers beside its own, nor as a backend',
  options,
  async (t) => {
    const { lab, plans, pod, apply, setFrontends, backends } = await createCluster(t, openEbpf);
    const [a, b] = [pod('a'), pod('b')];
    const [node, other] = lab.nodes;
    const arrived: PacketFlow[] = [];
    for (const { ns } of [b, pod('c')]) witness(t, ns, (flow) => void arrived.push(flow));
    plans[0]!.setSettings({ ...node!.settings, nodeLocal: ['10.96.0.10', 'fd00:10:96::a'] });
    await apply();
    const inner = (dst: LabPod, src: LabPod, port: number): Buffer =>
      wrapped({
        mac: vtepMac(dst.node === 'node-1' ? node!.remote.addresses[0]! : other!.remote.addresses[0]!),
        src: src.addresses[0],
        dst: dst.addresses[0],
        port,
      });
    await sendTo(t, a.ns, '10.96.0.10', inner(b, pod('c'), 7001));
    // Past the hooks of sockets, as a pod with a packet socket or a protocol of its own may.
    const raw = rawWriter(t, a);
    for (const [i, { settings }] of lab.nodes.entries()) {
      const [v4 = '', v6 = ''] = settings.nodeAddresses;
      const service = { kind: 'ClusterIP', protocol: 'UDP', port: 9000, target: 4789 } as const;
      const addresses = serviceAddresses(20 + i);
      await setFrontends([{ ...service, addresses, pods: [{ ...b, addresses: [v4, v6] }] }]);
      const [dst, src] = i === 0 ? [b, pod('c')] : [pod('c'), b];
      raw(datagram(a, addresses[0], 9000, inner(dst, src, 7002 + i)));
    }
    const uplink = node!.route.link('eth0')!;
    const fromOutside = (src: string, dst: string): number => {
      const data = frame({ src, dst, protocol: 17, sport: 1, dport: 4789 });
      data.write(uplink.mac.replaceAll(':', ''), 'hex');
      const program = backends[0]!.programs.program('from_uplink');
      return testRun({ program, data, context: { ifindex: uplink.index }, ns: node!.ns }).verdict;
    };
    const [own = '', neighbour = ''] = lab.nodes.map(({ settings }) => settings.nodeAddresses[0]);
    assert.deepEqual(
      [own, '10.96.0.10'].map((end) => fromOutside(GATEWAYS[0], end)),
      [SHOT, SHOT],
    );
    assert.equal(fromOutside(neighbour, own), OK);
    serveUdp(t, b.ns, [b.addresses[0]], 8081, 'server');
    assert.equal((await dialUdp(a.ns, b.addresses[0], 8081)).server, 'server');
    await settled(
      () => arrived.some(({ dport }) => dport === 8081),
      () => JSON.stringify(arrived),
    );
    assert.deepEqual(
      arrived.filter(({ dport }) => dport !== 8081),
      [],
    );
  },
);
