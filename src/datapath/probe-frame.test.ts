import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress } from '../lib/ip.ts';
import { parsePacket } from './packet.ts';
import { probeFrame } from './probe-frame.ts';

const port = fc.integer({ min: 1, max: 65_535 });
const addressOf = (family: 4 | 6) =>
  fc
    .bigInt({ min: 0n, max: 2n ** (family === 4 ? 32n : 128n) - 1n })
    .map((value) => formatAddress({ family, value }));
const packets = fc
  .constantFrom<4 | 6>(4, 6)
  .chain((family) =>
    fc.record({
      src: addressOf(family),
      dst: addressOf(family),
      sport: port,
      dport: port,
      protocol: fc.constantFrom(6, 17, 132, family === 4 ? 1 : 58),
    }),
  )
  // Such an address means IPv4.
  .filter(({ src, dst }) => ![src, dst].some((each) => each.startsWith('::ffff:')));

test('a packet made up has the ends that were asked for, and never the plain header of the short way', () => {
  fc.assert(
    fc.property(packets, (packet) => {
      const frame = probeFrame(packet);
      const hasPorts = packet.protocol !== 1 && packet.protocol !== 58;
      const isV6 = packet.src.includes(':');
      assert.deepEqual(parsePacket(frame.subarray(14)), {
        family: isV6 ? 6 : 4,
        ...packet,
        ...(hasPorts ? {} : { sport: 0, dport: 0 }),
      });
      assert.notEqual(frame[isV6 ? 14 + 6 : 14], isV6 ? packet.protocol : 0x45);
      const total = Buffer.from(frame).readUInt16BE(isV6 ? 14 + 4 : 14 + 2) + (isV6 ? 14 + 40 : 14);
      assert.equal(total, frame.length);
    }),
  );
});
