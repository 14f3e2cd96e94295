import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { GATEWAYS, type LabPod } from '../testing/lab.ts';
import { settled, witness } from '../testing/packets.ts';
import { dialTcp, dialUdp, serveTcp, serveUdp } from '../testing/traffic.ts';
import { vtepMac } from '../vtep.ts';
import { frame } from './core/testing/frames.ts';
import { datagram, rawWriter } from './core/testing/raw.ts';

const options = { skip: needsRoot };
const VNI = 72;
const [OK, SHOT] = [0, 2];

/** A frame of VXLAN (RFC 7348 section 5): a datagram over IPv4 without a checksum, from whom one likes. */
function wrapped(to: { mac: string; src: string; dst: string; port: number }): Buffer {
  const head = Buffer.from([8, 0, 0, 0, 0, 0, VNI, 0]);
  const ethernet = Buffer.from(`${to.mac.replaceAll(':', '')}0272000000ff0800`, 'hex');
  const ip = Buffer.alloc(20);
  ip.writeUInt16BE(0x4500, 0);
  ip.writeUInt16BE(29, 2);
  ip.writeUInt16BE(0x4011, 8);
  ip.set(toBytes(parseAddress(to.src)), 12);
  ip.set(toBytes(parseAddress(to.dst)), 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  ip.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10);
  const udp = Buffer.alloc(9);
  udp.writeUInt16BE(666, 0);
  udp.writeUInt16BE(to.port, 2);
  udp.writeUInt16BE(9, 4);
  return Buffer.concat([head, ethernet, ip, udp]);
}

async function sendTo(t: TestContext, ns: Netns, host: string, data: Buffer): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  t.after(() => void socket.close());
  // Listening at once: a descriptor that is bound has nothing to wait for.
  socket.bind({ fd: bindUdp(ns, host.includes(':') ? '::' : '0.0.0.0', 0) });
  await new Promise<void>((resolve, reject) =>
    socket.send(data, 4789, host, (error) => (error ? reject(error) : resolve())),
  );
}

test(
  'packets that a pod wraps for a tunnel by itself are not heard, on its own node nor on others',
  options,
  async (t) => {
    const { lab, pod } = await createCluster(t, openEbpf);
    const [a, b, c] = [pod('a'), pod('b'), pod('c')];
    const arrived: PacketFlow[] = [];
    for (const { ns } of [b, c]) witness(t, ns, (flow) => void arrived.push(flow));
    const forged = [
      { node: lab.nodes[1]!, src: b.addresses[0], dst: c.addresses[0] },
      { node: lab.nodes[0]!, src: c.addresses[0], dst: b.addresses[0] },
    ];
    for (const { node, src, dst } of forged) {
      const [end = ''] = node.remote.addresses;
      await sendTo(t, a.ns, end, wrapped({ mac: vtepMac(end), src, dst, port: 7000 }));
      // The other end of the tunnel is heard: the frame is one that would arrive.
      serveUdp(t, pod(dst === c.addresses[0] ? 'c' : 'b').ns, [dst], 8081, 'server');
      assert.equal((await dialUdp(a.ns, dst, 8081)).server, 'server');
    }
    await settled(
      () => arrived.filter(({ dport }) => dport === 8081).length === 2,
      () => JSON.stringify(arrived),
    );
    assert.deepEqual(
      arrived.filter(({ dport }) => dport === 7000),
      [],
    );
    const [one, two] = lab.nodes;
    const [end = ''] = two!.remote.addresses;
    const frame = wrapped({ mac: vtepMac(end), src: a.addresses[0], dst: c.addresses[0], port: 7000 });
    await sendTo(t, one!.ns, end, frame);
    await settled(
      () => arrived.some(({ dport }) => dport === 7000),
      () => 'a frame of the other node itself',
    );
  },
);

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

test(
  'nothing passes the link of a pod before the plan knows it, but what its node says',
  options,
  async (t) => {
    const { lab, plans, pod, apply } = await createCluster(t, openEbpf);
    const late = lab.nodes[0]!.addPod('late');
    serveTcp(t, late.ns, 8080, 'late');
    serveTcp(t, pod('b').ns, 8080, 'b');
    for (const family of [0, 1] as const) {
      const [mine, other] = [late.addresses[family], pod('b').addresses[family]];
      assert.deepEqual(await dialTcp(late.ns, other, 8080), { why: 'ETIMEDOUT' });
      assert.deepEqual(await dialTcp(pod('c').ns, mine, 8080), { why: 'ETIMEDOUT' });
    }
    plans[0]!.setLocalPods(lab.nodes[0]!.pods());
    await apply();
    for (const family of [0, 1] as const) {
      const [mine, other] = [late.addresses[family], pod('b').addresses[family]];
      assert.equal((await dialTcp(late.ns, other, 8080)).server, 'b');
      assert.equal((await dialTcp(pod('c').ns, mine, 8080)).server, 'late');
    }
  },
);
