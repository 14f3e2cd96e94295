/** Entries of the NAT tables, as connections that another data path goes on with, and made of what one has left. */
import { contains, parseAddress, tryParseCidr } from '../../../lib/ip.ts';
import { NOEXIST } from '../../../kernel/bpf/map.ts';
import type { BpfMap } from '../../../kernel/bpf/map.ts';
import type { Ends, NatConnection } from '../../backend.ts';
import { endsText } from '../../ends.ts';
import type { Settings } from '../../plan/tables.ts';
import { addressBytes, addressText, swapPort } from '../services/address-bytes.ts';
import type { NatKey, NatMap, NatValue } from './cut.ts';
import { isAlive } from './translated.ts';

/** As in bpf/include/nat-maps.h. */
const FLAG = { reply: 1, atPod: 2, atUplink: 4, dsr: 8, answered: 16, masquerade: 256, source: 512 } as const;
const PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 132]);

export interface WritableNat extends NatMap {
  readonly map: Pick<BpfMap, 'entries' | 'deleteBatch' | 'update' | 'lookup'>;
  readonly isV6: boolean;
}

const ends = ({ src, dst, sport, dport }: NatKey | NatValue, protocol: number): Ends => ({
  protocol,
  src: addressText(src),
  dst: addressText(dst),
  srcPort: swapPort(sport),
  dstPort: swapPort(dport),
});

const inverse = ({ src, dst, srcPort, dstPort, protocol }: Ends): Ends => ({
  protocol,
  src: dst,
  dst: src,
  srcPort: dstPort,
  dstPort: srcPort,
});

interface Half {
  readonly from: Ends;
  readonly to: Ends;
  readonly flags: number;
}

/** Without those whose answers go another way: no other data path has such. @param now the programs' clock, ns */
export function handedOver({ map, key, value }: NatMap, now: bigint): NatConnection[] {
  const halves: Half[] = [];
  for (const [keyBytes, valueBytes] of map.entries()) {
    const from = key.decode(keyBytes);
    const to = value.decode(valueBytes);
    if ((to.flags & (FLAG.reply | FLAG.dsr)) === 0 && isAlive(from, to, now))
      halves.push({ from: ends(from, from.protocol), to: ends(to, from.protocol), flags: to.flags });
  }
  // A service whose backend is outside is translated at the pod, and then masqueraded: one connection to others.
  const later = new Map(
    halves.filter(({ flags }) => flags & FLAG.masquerade).map((half) => [endsText(half.from), half]),
  );
  const joined = new Set(halves.flatMap(({ to, flags }) => (flags & FLAG.masquerade ? [] : [endsText(to)])));
  return halves
    .filter(({ from, flags }) => !(flags & FLAG.masquerade && joined.has(endsText(from))))
    .map(({ from, to, flags }) => ({
      original: from,
      reply: inverse(later.get(endsText(to))?.to ?? to),
      answered: (flags & FLAG.answered) !== 0,
    }));
}

/** Whose an address is. */
function placesOf({ nodePodCidrs, podCidrs, nodeAddresses, underlayCidrs, serviceCidrs }: Settings) {
  const within = (cidrs: readonly string[]) => {
    const ranges = cidrs.flatMap((cidr) => tryParseCidr(cidr) ?? []);
    return (address: string) => {
      const parsed = parseAddress(address);
      return ranges.some((range) => range.family === parsed.family && contains(range, parsed));
    };
  };
  const own = new Set(nodeAddresses);
  return {
    isOwnPod: within(nodePodCidrs),
    isPod: within(podCidrs),
    isInside: within([...podCidrs, ...underlayCidrs, ...serviceCidrs]),
    isNode: (address: string) => own.has(address),
  };
}

/** Ports that are tried for what leaves by the ends of another. */
const TRIES = 64;

/**
 * One or two translations, each with what the programs want to know of it.
 * @param leavesAs how what has these ends leaves for the outside; undefined: nothing has them
 */
function halvesOf(
  { original, reply }: NatConnection,
  places: ReturnType<typeof placesOf>,
  leavesAs: (ends: Ends) => string | undefined,
): Half[] {
  const to = inverse(reply);
  const isTo = to.dst !== original.dst || to.dstPort !== original.dstPort;
  const isFrom = to.src !== original.src || to.srcPort !== original.srcPort;
  const source = isFrom && places.isNode(to.src) ? FLAG.source : 0;
  if (places.isOwnPod(original.src)) {
    const masquerade = FLAG.atUplink | FLAG.masquerade | FLAG.source;
    if (!source || (isTo && places.isInside(to.dst)))
      return [{ from: original, to, flags: FLAG.atPod | source }];
    // By one port a pod may ask a server straight and through a service: between the two they need two.
    const own = [original.srcPort, ...Array.from({ length: TRIES }, (_, i) => to.srcPort - i)];
    const between = own
      .map((srcPort): Ends => ({ ...to, src: original.src, srcPort }))
      .find((ends) => [undefined, endsText(to)].includes(leavesAs(ends)));
    if (between === undefined) return [];
    const leaves = { from: between, to, flags: masquerade };
    if (!isTo && between.srcPort === original.srcPort) return [leaves];
    return [{ from: original, to: between, flags: FLAG.atPod }, leaves];
  }
  if (!isTo) return [];
  if (places.isNode(original.src))
    return [{ from: original, to, flags: FLAG.atPod | FLAG.atUplink | source }];
  return [
    { from: original, to, flags: FLAG.atUplink | source | (places.isPod(original.src) ? FLAG.atPod : 0) },
  ];
}

/** Makes what is not there. @param now the programs' clock, ns */
export function takeOver(
  nats: readonly WritableNat[],
  connections: readonly NatConnection[],
  settings: Settings,
  now: bigint,
): void {
  const places = placesOf(settings);
  for (const connection of connections) {
    if (!PROTOCOLS.has(connection.original.protocol)) continue;
    const isV6 = connection.original.src.includes(':');
    const nat = nats.find((each) => each.isV6 === isV6);
    if (!nat) continue;
    for (const half of halvesOf(connection, places, (from) => leavesAs(nat, from))) {
      const flags = half.flags | (connection.answered ? FLAG.answered : 0);
      write(nat, half.from, half.to, flags, now);
      write(nat, inverse(half.to), inverse(half.from), flags | FLAG.reply, now);
    }
  }
}

export function forgetAll({ map }: Pick<NatMap, 'map'>): void {
  const keys = Array.from(map.entries(), ([key]) => key);
  if (keys.length > 0) map.deleteBatch(Buffer.concat(keys), keys.length);
}

const bytes = ({ src, dst, srcPort, dstPort }: Ends) => ({
  src: addressBytes(src),
  dst: addressBytes(dst),
  sport: swapPort(srcPort),
  dport: swapPort(dstPort),
});

function leavesAs({ map, key, value }: WritableNat, from: Ends): string | undefined {
  const found = map.lookup(key.encode({ ...bytes(from), protocol: from.protocol, leaving: 1 }));
  return found && endsText(ends(value.decode(found), from.protocol));
}

function write({ map, key, value }: WritableNat, from: Ends, to: Ends, flags: number, now: bigint): void {
  const entry = { ...bytes(to), flags, zero: 0, last: now, created: now, backend: 0, packets: 0 };
  const leaving = (flags & (FLAG.masquerade | FLAG.reply)) === FLAG.masquerade ? 1 : 0;
  map.update(key.encode({ ...bytes(from), protocol: from.protocol, leaving }), value.encode(entry), NOEXIST);
}
