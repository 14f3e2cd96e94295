/** Frames that nobody may send, given to the programs as a pod, another node or the outside would. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import { createCluster } from '../testing/cluster.ts';
import { detachLinks } from '../testing/detached.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { GATEWAYS } from '../testing/lab.ts';
import { type FrameOptions, frame } from './core/testing/frames.ts';

const [OK, SHOT, REDIRECT] = [0, 2, 7];
const [RST, SYN, ACK] = [4, 2, 16];

test('what nobody may send goes no further than the link it came by', { skip: needsRoot }, async (t) => {
  const { lab, pod, setPolicies, backends } = await createCluster(t, openEbpf);
  const [a, b, c] = [pod('a'), pod('b'), pod('c')];
  const node = lab.nodes[0]!;
  const { programs } = backends[0]!;
  const run = (program: string, link: string, data: Buffer): number => {
    const { index, mac } = node.route.link(link)!;
    if (link === 'eth0') data.write(mac.replaceAll(':', ''), 'hex');
    const sender = [a, b].find((each) => each.interface === link);
    if (sender) data.write(sender.mac.replaceAll(':', ''), 6, 'hex');
    return testRun({ program: programs.program(program), data, context: { ifindex: index }, ns: node.ns })
      .verdict;
  };
  const fromPod = (data: Buffer) => run('from_pod', a.interface, data);
  const fromOverlay = (data: Buffer) => run('from_overlay', 'vxlan0', data);
  const fromUplink = (data: Buffer) => run('from_uplink', 'eth0', data);
  await setPolicies({
    b: { podSelector: { matchLabels: { app: 'b' } }, policyTypes: ['Ingress', 'Egress'] },
  });

  for (const family of [0, 1] as const) {
    const [A, B, C] = [a, b, c].map(({ addresses }) => addresses[family]) as [string, string, string];
    const icmp = family === 0 ? 1 : 58;
    const [own = '', other = ''] = lab.nodes.map(({ settings }) => settings.nodeAddresses[family]);
    let sport = 1000;
    const tcp = (src: string, dst: string, tcpFlags = SYN, more: Partial<FrameOptions> = {}): Buffer =>
      frame({ src, dst, protocol: 6, sport: sport++, dport: 80, tcpFlags, ...more });

    assert.equal(fromPod(tcp(A, C)), REDIRECT, 'what it may');
    assert.equal(fromPod(tcp(A, C, SYN, { ttl: 1 })), OK, 'without time left: the stack says so');
    for (const src of [B, C, own, other, '192.0.2.1'].filter((end) => end.includes(':') === (family === 1)))
      assert.equal(fromPod(tcp(src, C)), SHOT, `${src} is not the pod`);

    // Policy of b: nothing in, nothing out.
    for (const flags of [SYN, ACK, SYN | ACK, RST, 1, 0, SYN | 1, SYN | RST])
      assert.equal(fromPod(tcp(A, B, flags)), SHOT, `TCP flags ${flags}`);
    assert.equal(
      fromPod(frame({ src: A, dst: B, protocol: icmp, sport: 7, dport: 0, icmpReply: true })),
      SHOT,
      'an answer that nobody asked for',
    );
    const about = (src: string, dst: string) =>
      frame({ src: A, dst: src, protocol: icmp, sport: 0, dport: 0, errorAbout: tcp(src, dst) });
    assert.equal(fromPod(about(B, A)), SHOT, 'an error about what was not sent');
    const known = tcp(C, A);
    assert.equal(fromOverlay(Buffer.from(known)), REDIRECT);
    const error = (src: string) =>
      frame({ src, dst: C, protocol: icmp, sport: 0, dport: 0, errorAbout: known });
    assert.equal(fromPod(error(A)), REDIRECT, 'an error about what was sent');
    assert.equal(run('from_pod', b.interface, error(B)), SHOT, 'of somebody who was not meant');

    for (const src of [A, own, B]) assert.equal(fromOverlay(tcp(src, A)), SHOT, `${src} is of this node`);
    assert.equal(fromOverlay(tcp(C, other)), SHOT, 'the tunnel leads to pods alone');
    for (const src of [A, own, C]) assert.equal(fromUplink(tcp(src, A)), SHOT, `${src} is not outside`);
    assert.equal(fromUplink(tcp(GATEWAYS[family], A)), OK, 'the outside, which is judged at the pod');
  }

  const [A6, C6] = [a.addresses[1], c.addresses[1]];
  const mapped = frame({ src: A6, dst: C6, protocol: 6, sport: 1, dport: 80 });
  Buffer.from('00000000000000000000ffff', 'hex').copy(mapped, 14 + 24);
  assert.equal(fromPod(mapped), SHOT, 'an IPv4 address in IPv6');
  const routed = frame({ src: A6, dst: C6, protocol: 6, sport: 1, dport: 80, withOptions: true });
  routed[14 + 6] = 43;
  routed[14 + 40 + 3] = 1;
  assert.equal(fromPod(routed), SHOT, 'a source route');
});

test('what a pod says that it is not is dropped and counted by name', { skip: needsRoot }, async (t) => {
  const { lab, pod, backends } = await createCluster(t, openEbpf);
  const [a, b, c] = [pod('a'), pod('b'), pod('c')];
  const node = lab.nodes[0]!;
  const { programs, drops } = backends[0]!;
  detachLinks(programs, node);
  const context = { ifindex: node.route.link(a.interface)!.index };
  const program = programs.program('from_pod');
  const send = (data: Buffer): number => testRun({ program, data, context, ns: node.ns }).verdict;
  const counts = () => new Map([...(drops?.() ?? [])].map(([reason, { packets }]) => [reason, packets]));
  const isDropped = (data: Buffer, reason: string, what: string): void => {
    const before = counts();
    assert.equal(send(data), SHOT, what);
    const after = [...counts()].filter(([name, packets]) => packets !== before.get(name));
    assert.deepEqual(after, [[reason, (before.get(reason) ?? 0) + 1]], what);
  };
  const { mac } = a;
  const bytes = (address: string) => Buffer.from(toBytes(parseAddress(address)));

  for (const family of [0, 1] as const) {
    const [A, B, C] = [a, b, c].map(({ addresses }) => addresses[family]) as [string, string, string];
    const stream = { src: A, dst: C, protocol: 6, sport: 1000, dport: 80, mac };
    isDropped(frame({ ...stream, src: B }), 'spoofed', 'a source address');
    isDropped(frame({ ...stream, mac: b.mac }), 'wrong-mac', 'a MAC address, of a new connection');
    assert.equal(send(frame(stream)), REDIRECT);
    assert.equal(send(frame({ ...stream, tcpFlags: ACK })), REDIRECT);
    isDropped(frame({ ...stream, tcpFlags: ACK, mac: b.mac }), 'wrong-mac', 'of one that is known');
    const piece = frame({ ...stream, protocol: 17, fragment: { id: 7, part: 'later' } });
    // RFC 791, RFC 8200 section 4.5: it ends beyond the last byte of the largest datagram.
    if (family === 0) piece.writeUInt16BE(0x1ff8, 14 + 6);
    else piece.writeUInt16BE(0xfff8, 14 + 40 + 2);
    isDropped(piece, 'oversized', 'a fragment');
  }

  const ndp = { src: a.addresses[1], dst: 'ff02::1', protocol: 58, sport: 0, dport: 0, mac };
  const says = (type: number, about?: string, src = ndp.src): Buffer => {
    const data = frame({ ...ndp, src });
    data[14 + 40] = type;
    return Buffer.concat([
      data.subarray(0, 14 + 40 + 8),
      about === undefined ? Buffer.alloc(16) : bytes(about),
    ]);
  };
  for (const src of [ndp.src, 'fe80::1:1']) {
    isDropped(says(134, undefined, src), 'router-advertisement', 'a router');
    isDropped(says(137, undefined, src), 'redirect', 'a redirect');
    isDropped(says(136, b.addresses[1], src), 'neighbour-spoofed', 'the address of another');
    assert.equal(send(says(136, ndp.src, src)), OK, 'its own');
  }
  isDropped(says(136, ndp.src, b.addresses[1]), 'neighbour-spoofed', 'as another');
  for (const type of [133, 143]) isDropped(says(type), 'no-route', `ICMPv6 ${type}`);
  const router4 = frame({ ...ndp, src: a.addresses[0], dst: '224.0.0.1', protocol: 1 });
  router4[14 + 20] = 9;
  isDropped(router4, 'router-advertisement', 'RFC 1256');
  router4[14 + 20] = 5;
  isDropped(router4, 'redirect', 'RFC 792');

  const arp = (sender: string, of = mac, from = mac): Buffer =>
    Buffer.concat([
      Buffer.from(`ffffffffffff${from}08060001080006040001${of}`.replaceAll(':', ''), 'hex'),
      bytes(sender),
      Buffer.alloc(10),
    ]);
  assert.equal(send(arp(a.addresses[0])), OK);
  assert.equal(send(arp('0.0.0.0')), OK, 'a probe (RFC 5227)');
  isDropped(arp(b.addresses[0]), 'arp-spoofed', 'ARP in another name');
  isDropped(arp(a.addresses[0], b.mac), 'arp-spoofed', 'ARP that sends answers elsewhere');
  isDropped(arp('0.0.0.0', b.mac), 'arp-spoofed', 'a probe likewise');
  isDropped(arp(a.addresses[0], b.mac, b.mac), 'wrong-mac', 'ARP from elsewhere');
});
