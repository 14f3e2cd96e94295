/**
 * Connections of least-connection frontends that tc translates, counted from the tables of connections. Programs count
 * them as they begin and end; what leaves a table otherwise (silence, eviction, a change of tables) they do not see.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Programs } from '../loader.ts';
import { offsetOf } from '../services/fields.ts';
import type { NatKey, NatValue } from './cut.ts';

/** As in bpf/include/nat-maps.h. */
const FLAG = { reply: 1, answered: 16, counted: 1024 } as const;
const UDP = 17;
const ICMP: readonly number[] = [1, 58];
/** Entries that are read before others have their turn. */
const AT_ONCE = 1024;

/** `nat_timeout` of nat.h, for connections that have not ended. Seconds. */
function idleAfter(protocol: number, flags: number): number {
  if ((flags & FLAG.answered) === 0 || ICMP.includes(protocol)) return 60;
  return protocol === UDP ? 180 : 7440;
}

/**
 * Sets `backend_flows` to what lives. Exact where nothing begins or ends meanwhile; else wrong by at most what did,
 * until the next time.
 * @param now the programs' clock, ns
 */
export async function recount(
  programs: Pick<Programs, 'map' | 'codec'>,
  now: () => bigint = process.hrtime.bigint,
): Promise<void> {
  const counts = programs.map('backend_flows');
  const backends = programs.map('backends');
  const before = readCounts(counts.entries());
  const found = await countEntries(programs, now());
  const after = readCounts(counts.entries());
  for (const number of new Set([...after.keys(), ...found.keys()])) {
    const key = new Uint8Array(Uint32Array.of(number).buffer);
    if (!backends.lookup(key)) {
      counts.delete(key);
      continue;
    }
    const counted = after.get(number) ?? 0;
    // Of what began and ended meanwhile, half was read.
    const drift = Math.round((counted - (before.get(number) ?? 0)) / 2);
    const wanted = Math.max(0, (found.get(number) ?? 0) + drift);
    if (wanted !== counted) counts.update(key, new Uint8Array(BigUint64Array.of(BigInt(wanted)).buffer));
  }
}

const readCounts = (entries: Iterable<[Uint8Array, Uint8Array]>): Map<number, number> =>
  new Map(
    Array.from(entries, ([key, value]) => [
      Buffer.from(key).readUInt32LE(),
      Number(Buffer.from(value).readBigInt64LE()),
    ]),
  );

/** There may be hundreds of thousands: only what is asked for is read. */
function entryReader({ codec }: Pick<Programs, 'codec'>) {
  const key = codec<NatKey>('struct nat_key');
  const value = codec<NatValue & { backend: number }>('struct nat_value');
  const protocol = offsetOf(key, 'protocol', 0xff);
  const flags = offsetOf(value, 'flags', 0xffff);
  const last = offsetOf(value, 'last', 0xffff_ffff_ffff_ffffn);
  const backend = offsetOf(value, 'backend', 0xffff_ffff);
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    protocol: (bytes: Uint8Array): number => bytes[protocol] ?? 0,
    flags: (bytes: Uint8Array): number => (bytes[flags] ?? 0) | ((bytes[flags + 1] ?? 0) << 8),
    last: (bytes: Uint8Array): bigint => view(bytes).getBigUint64(last, true),
    backend: (bytes: Uint8Array): number => view(bytes).getUint32(backend, true),
  };
}

/** By backend. A connection is two entries, of which one may have been evicted: it counts while the other is used. */
async function countEntries(
  programs: Pick<Programs, 'map' | 'codec'>,
  now: bigint,
): Promise<Map<number, number>> {
  const read = entryReader(programs);
  const halves = { requests: new Map<number, number>(), replies: new Map<number, number>() };
  let count = 0;
  for (const name of ['nat4', 'nat6'])
    for (const [key, value] of programs.map(name).entries()) {
      if (++count % AT_ONCE === 0) await nextTurn();
      const flags = read.flags(value);
      if ((flags & FLAG.counted) === 0) continue;
      const silence = now - read.last(value);
      if (silence > BigInt(idleAfter(read.protocol(key), flags)) * 1_000_000_000n) continue;
      const half = (flags & FLAG.reply) === 0 ? halves.requests : halves.replies;
      const backend = read.backend(value);
      half.set(backend, (half.get(backend) ?? 0) + 1);
    }
  const { requests, replies } = halves;
  return new Map(
    [...new Set([...requests.keys(), ...replies.keys()])].map((backend) => [
      backend,
      Math.max(requests.get(backend) ?? 0, replies.get(backend) ?? 0),
    ]),
  );
}
