/** Packets that few send, over the links of a small cluster: what passes arrives whole, what does not is counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import { serviceAddresses } from '../testing/cluster.ts';
import { type LabPod, OUTSIDE } from '../testing/lab.ts';
import { settled } from '../testing/packets.ts';
import { FAMILIES, wish } from '../testing/service-lab.ts';
import { checksum, fragmentFrame, transportSum } from './core/testing/fragments.ts';
import { oddFrame } from './core/testing/odd-frames.ts';
import { capture, oddCluster, PORT } from './core/testing/odd-lab.ts';

const UDP = 17;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION = 60;

const options = { skip: needsRoot };

test('options of IPv4 pass, source routes do not', options, async (t) => {
  const { a, b, c, arrives } = await oddCluster(t);
  const timestamp = Buffer.from([68, 4, 5, 0, 1, 1, 1, 0]);
  const record = Buffer.from([7, 7, 4, 0, 0, 0, 0, 0]);
  const via = (kind: number) => Buffer.from([kind, 7, 4, ...toBytes(parseAddress(a.addresses[0])), 0]);
  for (const to of [b, c]) {
    assert.ok(await arrives(to, 0, { options: timestamp }), 'timestamp');
    assert.ok(await arrives(to, 0, { options: record }), 'record route');
    assert.equal(await arrives(to, 0, { options: via(131) }), false, 'loose source route');
    assert.equal(await arrives(to, 0, { options: via(137) }), false, 'strict source route');
  }
});

test('extension headers of IPv6 pass, routes through others do not', options, async (t) => {
  const { b, c, arrives, drops } = await oddCluster(t);
  const padding = Buffer.from([0, 0, 1, 4, 0, 0, 0, 0]);
  const atomic = Buffer.from([0, 0, 0, 0, 0, 0, 0, 9]);
  const routing = (left: number) =>
    Buffer.concat([Buffer.from([0, 2, 0, left, 0, 0, 0, 0]), Buffer.alloc(16)]);
  for (const to of [b, c]) {
    assert.ok(await arrives(to, 1, { extensions: [[HOP_BY_HOP, padding]] }), 'hop by hop');
    assert.ok(await arrives(to, 1, { extensions: [[DESTINATION, padding]] }), 'destination');
    assert.ok(
      await arrives(to, 1, { extensions: [[FRAGMENT, atomic]] }),
      'a fragment that is all (RFC 6946)',
    );
    assert.ok(
      await arrives(to, 1, {
        extensions: [
          [HOP_BY_HOP, padding],
          [DESTINATION, padding],
          [FRAGMENT, atomic],
          [DESTINATION, padding],
        ],
      }),
      'all of them',
    );
    const before = drops('malformed');
    assert.equal(await arrives(to, 1, { extensions: [[ROUTING, routing(1)]] }), false, 'a route');
    const many = Array.from({ length: 9 }, () => [DESTINATION, padding] as const);
    assert.equal(await arrives(to, 1, { extensions: many }), false, 'more than anybody sends');
    assert.equal(drops('malformed') - before, 2);
  }
});

test('fragments pass in order, and without the first none does', options, async (t) => {
  const { a, b, c, heard, heardFar, send, drops, arrives } = await oddCluster(t);
  let id = 100;
  const pieces = (to: LabPod, family: 0 | 1): Buffer[] => {
    const [src, dst] = [a.addresses[family], to.addresses[family]];
    const body = Buffer.alloc(4008, 'x');
    body.writeUInt16BE(50_000, 0);
    body.writeUInt16BE(PORT, 2);
    body.writeUInt16BE(body.length, 4);
    body.writeUInt16BE(0, 6);
    body.writeUInt16BE(transportSum(src, dst, UDP, body), 6);
    const whole = { src, dst, mac: a.mac, protocol: UDP, id: id++ };
    return [0, 1400, 2800].map((offset) =>
      fragmentFrame({
        ...whole,
        offset,
        more: offset < 2800,
        body: body.subarray(offset, offset === 2800 ? undefined : offset + 1400),
      }),
    );
  };
  for (const to of [b, c])
    for (const family of FAMILIES) {
      const list = to === c ? heardFar : heard;
      const whole = () => list.filter((text) => text.length === 4000).length;
      const before = { whole: whole(), drops: drops('fragment') };
      const [first, second, third] = pieces(to, family) as [Buffer, Buffer, Buffer];
      for (const piece of [first, third, second, second]) send(piece);
      await settled(
        () => whole() === before.whole + 1,
        () => `the datagram to ${to.name}`,
      );
      const [lone, later] = pieces(to, family) as [Buffer, Buffer];
      for (const piece of [later, lone]) send(piece);
      for (const piece of pieces(to, family).slice(1)) send(piece);
      assert.ok(await arrives(to, family, {}));
      assert.equal(whole(), before.whole + 1);
      assert.equal(drops('fragment') - before.drops, 3);
    }
});

test('a packet at the end of its time is told of by the node, wherever it goes', options, async (t) => {
  const { a, b, c, send, lab } = await oddCluster(t);
  const frames = capture(t, a.ns);
  const node = lab.nodes[0]!;
  const errors = (family: 0 | 1) =>
    frames.filter((frame) =>
      family === 0
        ? frame.readUInt16BE(12) === 0x0800 && frame[23] === 1 && frame[34] === 11
        : frame.readUInt16BE(12) === 0x86dd && frame[20] === 58 && frame[54] === 3,
    );
  for (const family of FAMILIES)
    for (const dst of [b.addresses[family], c.addresses[family], OUTSIDE[family]]) {
      frames.length = 0;
      send(oddFrame({ src: a.addresses[family], dst, mac: a.mac, dport: 33_434, ttl: 1 }));
      await settled(
        () => errors(family).length > 0,
        () => `an answer about ${dst}`,
      );
      if (family === 0)
        assert.ok(
          node.remote.addresses.includes([...errors(0)[0]!.subarray(26, 30)].join('.')),
          'the node itself says so',
        );
    }
});

test('nobody is spoken to but one by one: multicast and broadcast end at the link', options, async (t) => {
  const { a, b, send, drops } = await oddCluster(t);
  const frames = capture(t, b.ns);
  const before = drops('no-route');
  const groups = [
    ['224.0.0.251', '01:00:5e:00:00:fb'],
    ['255.255.255.255', 'ff:ff:ff:ff:ff:ff'],
    ['ff02::fb', '33:33:00:00:00:fb'],
    ['ff05::2', '33:33:00:00:00:02'],
  ] as const;
  for (const [dst, to] of groups)
    send(oddFrame({ src: a.addresses[dst.includes(':') ? 1 : 0], dst, to, mac: a.mac, dport: PORT }));
  assert.equal(drops('no-route') - before, groups.length);
  assert.deepEqual(
    frames.filter((frame) => frame.includes('odd!')),
    [],
  );
});

test('a pod that says it is another is not believed: ARP, neighbour discovery', options, async (t) => {
  const { a, b, send, drops, arrives, lab } = await oddCluster(t);
  const node = lab.nodes[0]!;
  const known = () =>
    node.route
      .neighbours()
      .filter(({ address }) => b.addresses.includes(address ?? ''))
      .map((each) => JSON.stringify({ ...each, confirmed: undefined }))
      .sort();
  const before = { known: known(), arp: drops('arp-spoofed'), discovery: drops('neighbour-spoofed') };
  const mac = a.mac.replaceAll(':', '');
  const bytes = (address: string) => Buffer.from(toBytes(parseAddress(address)));
  // RFC 826: "b is at a's address", to everybody.
  send(
    Buffer.concat([
      Buffer.from(`ffffffffffff${mac}08060001080006040002${mac}`, 'hex'),
      bytes(b.addresses[0]),
      Buffer.from(mac, 'hex'),
      bytes('169.254.1.1'),
    ]),
  );
  assert.equal(drops('arp-spoofed') - before.arp, 1);
  // RFC 4861 section 4.4: the same, from a's own address and from b's.
  for (const src of [a.addresses[1], b.addresses[1]]) {
    const dst = 'ff02::1';
    const body = Buffer.concat([
      Buffer.from('8800000020000000', 'hex'),
      bytes(b.addresses[1]),
      Buffer.from(`0201${mac}`, 'hex'),
    ]);
    body.writeUInt16BE(transportSum(src, dst, 58, body), 2);
    const head = Buffer.from(`60000000${body.length.toString(16).padStart(4, '0')}3aff`, 'hex');
    send(Buffer.concat([Buffer.from(`333300000001${mac}86dd`, 'hex'), head, bytes(src), bytes(dst), body]));
  }
  assert.equal(drops('neighbour-spoofed') - before.discovery, 2);
  assert.deepEqual(known(), before.known);
  for (const family of FAMILIES) assert.ok(await arrives(b, family, {}));
});

test('checksums are right where a packet’s addresses were replaced', options, async (t) => {
  const { a, send, lab, setFrontends, b } = await oddCluster(t);
  const outside = capture(t, lab.outside);
  await setFrontends([wish('ClusterIP', [b], { protocol: 'UDP', target: PORT })]);
  const inside = capture(t, b.ns);
  for (const family of FAMILIES)
    for (const [frames, dst, dport] of [
      [outside, OUTSIDE[family], 4242],
      [inside, serviceAddresses(1)[family], 80],
    ] as const) {
      frames.length = 0;
      const payload = `sum ${family} ${dport}`;
      send(oddFrame({ src: a.addresses[family], dst, mac: a.mac, dport, payload }));
      const found = () => frames.find((frame) => frame.includes(payload));
      await settled(
        () => found() !== undefined,
        () => payload,
      );
      const frame = found()!;
      const [at, ends] = family === 0 ? ([34, [26, 34]] as const) : ([54, [22, 54]] as const);
      const length = frame.readUInt16BE(at + 4);
      const pseudo = Buffer.alloc(8);
      pseudo.writeUInt32BE(length, 0);
      pseudo.writeUInt32BE(UDP, 4);
      const all = Buffer.concat([frame.subarray(...ends), pseudo, frame.subarray(at, at + length)]);
      assert.equal(checksum(all), 0, payload);
    }
});

test('errors about connections that nobody has go nowhere', options, async (t) => {
  const { a, b, c, send, arrives, drops } = await oddCluster(t);
  const frames = capture(t, b.ns);
  // Port unreachable (RFC 792), about a packet that b never sent to a, and about one that b sent to c.
  for (const dst of [a.addresses[0], c.addresses[0]]) {
    const about = oddFrame({ src: b.addresses[0], dst, mac: b.mac, dport: 9 }).subarray(14);
    const error = Buffer.concat([Buffer.from('0303000000000000', 'hex'), about]);
    error.writeUInt16BE(checksum(error), 2);
    const shell = oddFrame({ src: a.addresses[0], dst: b.addresses[0], mac: a.mac, dport: 9 });
    const head = shell.subarray(0, 34);
    head[23] = 1;
    head.writeUInt16BE(20 + error.length, 16);
    head.writeUInt16BE(0, 24);
    head.writeUInt16BE(checksum(head.subarray(14)), 24);
    const before = drops('policy');
    send(Buffer.concat([head, error]));
    assert.equal(drops('policy') - before, 1);
  }
  assert.ok(await arrives(b, 0, {}));
  assert.deepEqual(
    frames.filter((frame) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 1),
    [],
  );
});
