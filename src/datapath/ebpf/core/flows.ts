/** The flow cache, read: connections with what was decided, and whose entries fill it. */
import type { NatConnection, Pressure, TrackedFlow } from '../../backend.ts';
import type { Programs } from '../loader.ts';
import { addressText, swapPort } from '../services/address-bytes.ts';
import { readCounts } from './counters.ts';

/** `flow_flags` of flow-maps.h. */
const FLAG = { answered: 1, finLow: 2, finHigh: 4, reset: 8, translated: 16, denied: 32 } as const;
const MAPS = [
  { name: 'flows4', created: 0, family: 4 },
  { name: 'flows6', created: 1, family: 6 },
  { name: 'crowd4', created: 2, family: 4 },
  { name: 'crowd6', created: 3, family: 6 },
] as const;
const TCP = 6;
const ICMP: readonly number[] = [1, 58];
/** TCP, UDP, SCTP. */
const WITH_PORTS: ReadonlySet<number> = new Set([TCP, 17, 132]);

interface FlowKey4 {
  readonly low: number;
  readonly high: number;
  readonly low_port: number;
  readonly high_port: number;
  readonly protocol: number;
}

interface FlowKey6 extends Omit<FlowKey4, 'low' | 'high'> {
  readonly low: Uint8Array;
  readonly high: Uint8Array;
}

interface FlowValue {
  readonly way: readonly { readonly packets: bigint; readonly bytes: bigint }[];
  readonly last: bigint;
  readonly idle: number;
  readonly flags: number;
  readonly initiator: number;
  readonly egress_rule: number;
  readonly ingress_rule: number;
  readonly charged: number;
}

export interface FlowReader {
  /** Entries that still live. There may be as many as the maps hold. */
  flows(): TrackedFlow[];
  /** Of those, allowed and still open, what nothing translates: who began it is known here alone. */
  carried(): NatConnection[];
  /** All of them, both ways of each at once. */
  forget(): void;
  /** By index of the link that pays for them, most first. Walks through all entries. */
  users(): { readonly link: number; readonly entries: number }[];
  pressure(): Pressure[];
  /** Entries that gave way to others since the maps were made, at least. */
  evicted(): number;
}

/** @param monotonicNs the programs' clock */
export function createFlowReader(
  programs: Pick<Programs, 'map' | 'codec'>,
  monotonicNs: () => bigint = process.hrtime.bigint,
): FlowReader {
  const value = programs.codec<FlowValue>('struct flow');
  const key4 = programs.codec<FlowKey4>('struct flow_key4');
  const key6 = programs.codec<FlowKey6>('struct flow_key6');

  function* entries() {
    for (const { name, family } of MAPS)
      for (const [key, bytes] of programs.map(name).entries())
        yield { family, key, flow: value.decode(bytes) };
  }

  function* living() {
    const now = monotonicNs();
    for (const { family, key, flow } of entries()) {
      const left = flow.idle - Number(now - flow.last) / 1e9;
      if (left > 0)
        yield { ends: family === 4 ? ends4(key4.decode(key)) : ends6(key6.decode(key)), flow, left };
    }
  }

  const made = () =>
    readCounts(
      programs.map('flow_counts'),
      MAPS.map(({ created }) => created),
    );

  return {
    flows: () => Array.from(living(), ({ ends, flow, left }) => trackedFlow(ends, flow, left)),
    carried: () =>
      Array.from(living())
        .filter(({ ends, flow }) => WITH_PORTS.has(ends.protocol) && isOpen(flow))
        .map(({ ends, flow }) => connectionOf(ends, flow)),
    forget() {
      for (const { name } of MAPS) {
        const map = programs.map(name);
        const keys = Array.from(map.entries(), ([key]) => key);
        if (keys.length > 0) map.deleteBatch(Buffer.concat(keys), keys.length);
      }
    },
    users() {
      const counts = new Map<number, number>();
      for (const { flow } of entries()) counts.set(flow.charged, (counts.get(flow.charged) ?? 0) + 1);
      return [...counts]
        .map(([link, count]) => ({ link, entries: count }))
        .sort((a, b) => b.entries - a.entries);
    },
    pressure: () =>
      made().map((created, i) => {
        const name = MAPS[i]!.name;
        const max = programs.map(name).maxEntries;
        // An LRU map never shrinks: what gives way does so for another.
        return { name, entries: Math.min(created, max), max };
      }),
    evicted: () =>
      made().reduce(
        (sum, created, i) => sum + Math.max(0, created - programs.map(MAPS[i]!.name).maxEntries),
        0,
      ),
  };
}

interface Ends {
  readonly addresses: readonly [string, string];
  readonly ports: readonly [number, number];
  readonly protocol: number;
}

const ends4 = ({ low, high, low_port, high_port, protocol }: FlowKey4): Ends => ({
  addresses: [text4(low), text4(high)],
  ports: [swapPort(low_port), swapPort(high_port)],
  protocol,
});

const ends6 = ({ low, high, low_port, high_port, protocol }: FlowKey6): Ends => ({
  addresses: [addressText(low), addressText(high)],
  ports: [swapPort(low_port), swapPort(high_port)],
  protocol,
});

/** In memory in network order, so its first byte is the number's last. */
const text4 = (value: number): string => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255).join('.');

const FINS = FLAG.finLow | FLAG.finHigh;

const isOpen = ({ flags }: FlowValue): boolean =>
  (flags & (FLAG.translated | FLAG.denied | FLAG.reset)) === 0 && (flags & FINS) !== FINS;

function connectionOf({ addresses, ports, protocol }: Ends, { initiator, flags }: FlowValue): NatConnection {
  const [client, server] = initiator === 0 ? ([0, 1] as const) : ([1, 0] as const);
  const from = (one: 0 | 1, other: 0 | 1) => ({
    protocol,
    src: addresses[one],
    srcPort: ports[one],
    dst: addresses[other],
    dstPort: ports[other],
  });
  return {
    original: from(client, server),
    reply: from(server, client),
    answered: (flags & FLAG.answered) !== 0,
  };
}

function trackedFlow({ addresses, ports, protocol }: Ends, flow: FlowValue, expires: number): TrackedFlow {
  const client = flow.initiator === 0 ? 0 : 1;
  const server = client === 0 ? 1 : 0;
  const hasPorts = !ICMP.includes(protocol);
  const counter = (way: 0 | 1) => ({
    packets: Number(flow.way[way]?.packets ?? 0),
    bytes: Number(flow.way[way]?.bytes ?? 0),
  });
  return {
    protocol,
    src: addresses[client],
    sport: hasPorts ? ports[client] : 0,
    dst: addresses[server],
    dport: hasPorts ? ports[server] : 0,
    verdict: flow.flags & FLAG.denied ? 'deny' : 'allow',
    egressRule: flow.egress_rule,
    ingressRule: flow.ingress_rule,
    state: stateOf(protocol, flow.flags),
    sent: counter(client),
    received: counter(server),
    expires,
  };
}

function stateOf(protocol: number, flags: number): string {
  const answered = (flags & FLAG.answered) !== 0;
  if (protocol !== TCP) return answered ? 'answered' : 'unanswered';
  if (flags & FLAG.reset) return 'reset';
  if ((flags & FINS) === FINS) return 'closed';
  if ((flags & FINS) !== 0) return 'closing';
  return answered ? 'established' : 'syn-sent';
}
