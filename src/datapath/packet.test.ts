import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress, toBytes } from '../lib/ip.ts';
import { parsePacket } from './packet.ts';

const v6 = (next: number, ...rest: number[]): Uint8Array =>
  Uint8Array.from([
    0x60,
    0,
    0,
    0,
    0,
    0,
    next,
    64,
    ...toBytes(parseAddress('fd00::1')),
    ...toBytes(parseAddress('fd00::2')),
    ...rest,
  ]);
const ports = [0x1f, 0x90, 0, 80, 0, 0, 0, 0];
const ends = { family: 6, src: 'fd00::1', dst: 'fd00::2' };

test('IPv6 headers are skipped up to the ports', () => {
  const flow = { ...ends, protocol: 6, sport: 8080, dport: 80 };
  assert.deepEqual(parsePacket(v6(6, ...ports)), flow);
  assert.deepEqual(parsePacket(v6(0, 6, 0, 0, 0, 0, 0, 0, 0, ...ports)), flow, 'hop by hop');
  const twice = [60, 0, 0, 0, 0, 0, 0, 0, 6, 1, ...Array<number>(14).fill(0), ...ports];
  assert.deepEqual(parsePacket(v6(43, ...twice)), flow, 'routing, then destination options of 16 bytes');
  const authentication = [6, 1, ...Array<number>(10).fill(0), ...ports];
  assert.deepEqual(parsePacket(v6(51, ...authentication)), flow, 'authentication counts by four');
  assert.deepEqual(parsePacket(v6(44, 6, 0, 0, 1, 0, 0, 0, 0, ...ports)), flow, 'first fragment');
});

test('a later fragment has no ports', () => {
  assert.deepEqual(parsePacket(v6(44, 17, 0, 0, 8, 0, 0, 0, 0, ...ports)), {
    ...ends,
    protocol: 17,
    sport: 0,
    dport: 0,
  });
});

test('IPv4 options are skipped', () => {
  const header = [0x46, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1];
  const flow = parsePacket(Uint8Array.from([...header, ...ports]));
  assert.deepEqual(flow, {
    family: 4,
    src: '10.0.0.1',
    dst: '10.0.0.2',
    protocol: 17,
    sport: 8080,
    dport: 80,
  });
});

test('ICMP has no ports', () => assert.equal(parsePacket(v6(58, 128, 0, 1, 2))?.dport, 0));

test('any bytes are read to an end', () => {
  const bytes = fc.uint8Array({ maxLength: 128 });
  const versioned = fc
    .tuple(fc.constantFrom(0x45, 0x4f, 0x60), bytes)
    .map(([first, rest]) => Uint8Array.from([first, ...rest]));
  fc.assert(
    fc.property(fc.oneof(bytes, versioned), (data) => {
      const flow = parsePacket(data);
      assert.ok(flow === undefined || (flow.sport >= 0 && flow.sport < 65536));
    }),
    { numRuns: 2000 },
  );
});
