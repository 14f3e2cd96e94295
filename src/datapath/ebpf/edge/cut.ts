/** Translated UDP flows to backends that are gone: the next packet of the client is for another. */
import type { BpfMap } from '../../../kernel/bpf/map.ts';
import type { Codec } from '../../../kernel/bpf/codec.ts';
import type { ServiceFrontend } from '../../plan/tables.ts';
import { addressBytes } from '../services/address-bytes.ts';
import { textOf } from '../map-table.ts';

const UDP = 17;
const REPLY = 1;

export interface NatKey {
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  readonly protocol: number;
  /** 1: of a pod's packet as it leaves for the outside. */
  readonly leaving: number;
}

export interface NatValue {
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  readonly flags: number;
  readonly last: bigint;
}

export interface NatMap {
  readonly map: Pick<BpfMap, 'entries' | 'deleteBatch'>;
  readonly key: Codec<NatKey>;
  readonly value: Codec<NatValue>;
}

/** Network order as the codec reads it: a number of the machine's order. */
const swapped = (port: number): number => ((port & 0xff) << 8) | (port >> 8);

const endText = (address: Uint8Array, port: number): string => `${textOf(address)}|${port}`;

/** Text of (frontend, backend) pairs that connections may have. */
function pairsOf(frontend: ServiceFrontend): string[] {
  const front = endText(addressBytes(frontend.address), swapped(frontend.port));
  const ends = [...frontend.backends, ...(frontend.externalBackends ?? [])];
  return ends.map(({ address, port }) => `${front}|${endText(addressBytes(address), swapped(port))}`);
}

export interface FrontendChange {
  readonly before: ServiceFrontend | undefined;
  readonly after: ServiceFrontend | undefined;
}

/** Pairs of UDP that were and are no more. */
export function goneDatagrams(changes: readonly FrontendChange[]): ReadonlySet<string> {
  const gone = new Set<string>();
  for (const { before, after } of changes) {
    if (before?.protocol !== 'UDP') continue;
    const kept = new Set(after ? pairsOf(after) : []);
    for (const pair of pairsOf(before)) if (!kept.has(pair)) gone.add(pair);
  }
  return gone;
}

/** Deletes both halves of each such flow; returns how many entries went. */
export function cutFlows({ map, key, value }: NatMap, gone: ReadonlySet<string>): number {
  if (gone.size === 0) return 0;
  const keys: Uint8Array[] = [];
  for (const [keyBytes, valueBytes] of map.entries()) {
    const from = key.decode(keyBytes);
    if (from.protocol !== UDP) continue;
    const to = value.decode(valueBytes);
    const isReply = (to.flags & REPLY) !== 0;
    const front = isReply ? endText(to.src, to.sport) : endText(from.dst, from.dport);
    const back = isReply ? endText(from.src, from.sport) : endText(to.dst, to.dport);
    if (gone.has(`${front}|${back}`)) keys.push(keyBytes);
  }
  return keys.length > 0 ? map.deleteBatch(Buffer.concat(keys), keys.length) : 0;
}
