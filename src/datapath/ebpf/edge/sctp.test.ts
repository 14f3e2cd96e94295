import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testRun } from '../../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { parseAddress, toBytes } from '../../../lib/ip.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { TARGETS } from '../../testing/frontends.ts';
import { OUTSIDE } from '../../testing/lab.ts';
import { NODE_PORT, PODS, wish } from '../../testing/service-lab.ts';

const SCTP = 132;
const [SHOT, REDIRECT] = [2, 7];

/** Reflected, as RFC 9260 appendix A has it. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function chunk(sport: number, dport: number, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + payload.length);
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  out.writeUInt32BE(0x12345678, 4);
  out.set(payload, 12);
  out.writeUInt32LE(crc32c(out), 8);
  return out;
}

/** As the uplink of node 1 hears it. */
function frame(src: string, dst: string, data: Uint8Array): Buffer {
  const isV6 = src.includes(':');
  const head = Buffer.alloc(14 + (isV6 ? 40 : 20));
  head.write('02000000ff01', 'hex');
  head.writeUInt16BE(isV6 ? 0x86dd : 0x0800, 12);
  const [from, to] = [toBytes(parseAddress(src)), toBytes(parseAddress(dst))];
  if (isV6) {
    head[14] = 0x60;
    head.writeUInt16BE(data.length, 18);
    head[20] = SCTP;
    head[21] = 64;
    head.set(from, 22);
    head.set(to, 38);
  } else {
    head[14] = 0x45;
    head.writeUInt16BE(20 + data.length, 16);
    head[22] = 64;
    head[23] = SCTP;
    head.set(from, 26);
    head.set(to, 30);
    head.writeUInt16BE(onesSum(head.subarray(14)), 24);
  }
  return Buffer.concat([head, data]);
}

function onesSum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

interface Read {
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly sport: number;
  readonly dport: number;
}

/** Asserts that every sum of the frame is right. */
function read(data: Uint8Array): Read {
  const bytes = Buffer.from(data);
  const isV6 = bytes.readUInt16BE(12) === 0x86dd;
  const at = isV6 ? 54 : 34;
  const sctp = Buffer.from(bytes.subarray(at));
  const sum = sctp.readUInt32LE(8);
  sctp.writeUInt32LE(0, 8);
  assert.equal(sum, crc32c(sctp), 'CRC32c');
  if (!isV6) assert.equal(onesSum(bytes.subarray(14, 34)), 0, 'sum of the IPv4 header');
  const [from, length] = isV6 ? [22, 16] : [26, 4];
  return {
    src: bytes.subarray(from, from + length),
    dst: bytes.subarray(from + length, from + 2 * length),
    sport: sctp.readUInt16BE(0),
    dport: sctp.readUInt16BE(2),
  };
}

const bytesOf = (address: string): Buffer => Buffer.from(toBytes(parseAddress(address)));

for (const [family, name] of ['IPv4', 'IPv6'].entries())
  test(`SCTP to a node port is translated there and back, its CRC32c right, ${name}`, {
    skip: needsRoot,
  }, async (t) => {
    const cluster = await createCluster(t, openEbpf, PODS);
    const node = cluster.lab.nodes[0]!;
    const { programs } = cluster.backends[0]!;
    const ifindex = node.route.link('eth0')!.index;
    const own = node.remote.addresses[family] ?? '';
    const client = OUTSIDE[family] ?? '';
    const run = (program: string, link: number, data: Uint8Array) =>
      testRun({ program: programs.program(program), data, ns: node.ns, context: { ifindex: link } });
    for (const server of ['b', 'c'] as const) {
      const pod = cluster.pod(server);
      await cluster.setFrontends([wish('NodePort', [pod], { protocol: 'SCTP' })]);
      for (const [i, size] of [0, 1, 2, 3, 4, 5, 7, 16, 100, 333, 1000, 1399].entries()) {
        const sport = 20_000 + (server === 'c' ? 1000 : 0) + i;
        const payload = Buffer.alloc(size, i + 1);
        const out = run('from_uplink', ifindex, frame(client, own, chunk(sport, NODE_PORT, payload)));
        assert.equal(out.verdict, REDIRECT);
        const there = read(out.data);
        assert.deepEqual(Buffer.from(there.dst), bytesOf(pod.addresses[family] ?? ''));
        assert.equal(there.dport, TARGETS.SCTP);
        assert.deepEqual(Buffer.from(there.src), bytesOf(server === 'b' ? client : own));
        const reply = chunk(TARGETS.SCTP, there.sport, payload);
        const back =
          server === 'b'
            ? run('to_uplink', ifindex, frame(pod.addresses[family] ?? '', client, reply))
            : undefined;
        if (!back) continue;
        assert.notEqual(back.verdict, SHOT);
        assert.deepEqual(read(back.data), {
          src: bytesOf(own),
          dst: bytesOf(client),
          sport: NODE_PORT,
          dport: sport,
        });
      }
    }
  });

// A device makes it over the field as it finds it (skb_crc32c_csum_help): the peer would hear a wrong one.
test('a checksum of SCTP that is left to a device stays 0 when ports change', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await createCluster(t, openEbpf, PODS);
  const node = cluster.lab.nodes[0]!;
  const { programs } = cluster.backends[0]!;
  await cluster.setFrontends([wish('NodePort', [cluster.pod('b')], { protocol: 'SCTP' })]);
  for (const [family, own] of node.remote.addresses.entries()) {
    const data = chunk(20_000, NODE_PORT, Buffer.alloc(20, 1));
    data.fill(0, 8, 12);
    const out = testRun({
      program: programs.program('from_uplink'),
      data: frame(OUTSIDE[family] ?? '', own, data),
      ns: node.ns,
      context: { ifindex: node.route.link('eth0')!.index },
    });
    assert.equal(out.verdict, REDIRECT);
    const there = Buffer.from(out.data).subarray(family === 0 ? 34 : 54);
    assert.deepEqual([there.readUInt16BE(2), there.readUInt32LE(8)], [TARGETS.SCTP, 0]);
  }
});
