/** What every backend keeps from pods that make packets by themselves: tunnels, and links nobody knows. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { settled, witness } from './packets.ts';
import { dialTcp, dialUdp, serveTcp, serveUdp } from './traffic.ts';
import { vtepMac } from '../vtep.ts';

const options = { skip: needsRoot };
const VNI = 72;

/** A frame of VXLAN (RFC 7348 section 5): a datagram over IPv4 without a checksum, from whom one likes. */
export function wrapped(to: { mac: string; src: string; dst: string; port: number }): Buffer {
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

/** A datagram to the tunnels' port of `host`, or another. */
export async function sendTo(
  t: TestContext,
  ns: Netns,
  host: string,
  data: Buffer,
  port = 4789,
): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  t.after(() => void socket.close());
  // Listening at once: a descriptor that is bound has nothing to wait for.
  socket.bind({ fd: bindUdp(ns, host.includes(':') ? '::' : '0.0.0.0', 0) });
  await new Promise<void>((resolve, reject) =>
    socket.send(data, port, host, (error) => (error ? reject(error) : resolve())),
  );
}

export function guardsContract(name: string, openBackend: OpenBackend): void {
  void test(
    `${name}: packets that a pod wraps for a tunnel by itself are not heard, on its own node nor on others`,
    options,
    async (t) => {
      const { lab, pod } = await createCluster(t, openBackend);
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
        () => new Set(arrived.flatMap(({ dport, dst }) => (dport === 8081 ? [dst] : []))).size === 2,
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

  void test(
    `${name}: the end of a tunnel is no service's backend, for pods and for clients outside`,
    options,
    async (t) => {
      const { lab, pod, setFrontends } = await createCluster(t, openBackend);
      const [a, b, c] = [pod('a'), pod('b'), pod('c')];
      const arrived: PacketFlow[] = [];
      for (const { ns } of [b, c]) witness(t, ns, (flow) => void arrived.push(flow));
      const first = lab.nodes[0]!.remote.addresses[0] ?? '';
      for (const [i, { remote }] of lab.nodes.entries()) {
        const [v4 = '', v6 = ''] = remote.addresses;
        const [dst, src] = i === 0 ? [b, c] : [c, b];
        const ends = { target: 4789, pods: [{ ...a, node: remote.node, addresses: [v4, v6] as const }] };
        const addresses = serviceAddresses(20 + i);
        await setFrontends([
          { kind: 'ClusterIP', protocol: 'UDP', port: 9000, addresses, ...ends },
          { kind: 'NodePort', protocol: 'UDP', port: 30_090, ...ends },
        ]);
        const inner = (port: number): Buffer =>
          wrapped({ mac: vtepMac(v4), src: src.addresses[0], dst: dst.addresses[0], port });
        await sendTo(t, a.ns, addresses[0], inner(7000 + i), 9000).catch(() => {});
        await sendTo(t, lab.outside, first, inner(7010 + i), 30_090);
      }
      for (const each of [b, c]) {
        serveUdp(t, each.ns, [each.addresses[0]], 8081, 'server');
        assert.equal((await dialUdp(a.ns, each.addresses[0], 8081)).server, 'server');
      }
      await settled(
        () => new Set(arrived.flatMap(({ dport, dst }) => (dport === 8081 ? [dst] : []))).size === 2,
        () => JSON.stringify(arrived),
      );
      assert.deepEqual(
        arrived.map(({ dport }) => dport).filter((port) => port !== 8081),
        [],
      );
    },
  );

  void test(
    `${name}: nothing passes the link of a pod before the plan knows it, but what its node says`,
    options,
    async (t) => {
      const { lab, plans, pod, apply } = await createCluster(t, openBackend);
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
}
