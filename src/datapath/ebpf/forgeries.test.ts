/** Frames that nobody may send, given to the programs as a pod, another node or the outside would. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { createCluster } from '../testing/cluster.ts';
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
  const advertisement = frame({ src: A6, dst: 'ff02::1', protocol: 58, sport: 0, dport: 0 });
  for (const type of [133, 134, 137, 143]) {
    advertisement[14 + 40] = type;
    assert.equal(fromPod(Buffer.from(advertisement)), SHOT, `ICMPv6 ${type}`);
  }
  const arp = Buffer.alloc(42);
  arp.write('ffffffffffff0200000000010806000108000604000102', 'hex');
  const asks = (sender: string): Buffer => {
    const out = Buffer.from(arp);
    out.set(sender.split('.').map(Number), 28);
    return out;
  };
  assert.equal(fromPod(asks(a.addresses[0])), OK);
  assert.equal(fromPod(asks(b.addresses[0])), SHOT, 'ARP in another name');
});
