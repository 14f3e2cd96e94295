/**
 * Carries frames between the bridges of a cluster: each has one port here, and between every two ports there is a
 * line in either direction. A star, so that no frame runs in circles however many zones there are. Pure but for what
 * it is given.
 */
import { createLine, type Line, type LineCounters, seededRandom } from './line.ts';
import { type Group, linkBetween, type PlaceLink } from './places.ts';

export interface SwitchPort extends Group {
  /** MAC addresses of its nodes: known before the first frame. */
  readonly macs: readonly string[];
  write(frame: Uint8Array): void;
}

export interface PairCounters extends LineCounters {
  readonly from: string;
  readonly to: string;
}

export interface Switch {
  take(port: number, frame: Buffer, now: number): void;
  /** When something is due; Infinity where nothing waits. */
  due(): number;
  release(now: number): void;
  setLinks(links: readonly PlaceLink[], now: number): void;
  counters(): PairCounters[];
}

export interface SwitchDeps {
  readonly ports: readonly SwitchPort[];
  readonly links: readonly PlaceLink[];
  readonly seed: number;
}

/** Bytes that all lines together may hold. */
export const ROOM = 64 << 20;
/** Senders that are nobody's of the plan; the oldest is forgotten. */
const LEARNED = 4096;
const HEADER = 14;

export function createSwitch({ ports, links: initial, seed }: SwitchDeps): Switch {
  const room = { left: ROOM };
  const known = new Map(ports.flatMap(({ macs }, i) => macs.map((mac) => [macNumber(mac), i])));
  const learned = new Map<number, number>();
  const settings = (a: SwitchPort, b: SwitchPort, links: readonly PlaceLink[]) =>
    linkBetween(a, b, links) ?? {};
  const lines: (Line | undefined)[][] = ports.map((from, i) =>
    ports.map((to, j) =>
      i === j
        ? undefined
        : createLine({
            settings: settings(from, to, initial),
            random: seededRandom(seed, `${from.name} ${to.name}`),
            deliver: (frame) => to.write(frame),
            room,
          }),
    ),
  );
  const all = lines.flat().filter((line) => line !== undefined);

  function learn(mac: number, port: number): void {
    if (known.has(mac) || learned.get(mac) === port) return;
    learned.delete(mac);
    learned.set(mac, port);
    if (learned.size > LEARNED) learned.delete(learned.keys().next().value ?? 0);
  }

  return {
    take(port, frame, now) {
      if (frame.length < HEADER) return;
      learn(frame.readUIntBE(6, 6), port);
      const target = frame.readUIntBE(0, 6);
      const to = known.get(target) ?? learned.get(target);
      // To a group of receivers (IEEE 802: the lowest bit of the first byte), or to nobody who has been heard of.
      if (to === undefined) for (const line of lines[port] ?? []) line?.take(frame, now);
      else lines[port]?.[to]?.take(frame, now);
    },
    due: () => all.reduce((least, line) => Math.min(least, line.due), Infinity),
    release(now) {
      for (const line of all) if (line.due <= now) line.release(now);
    },
    setLinks(links, now) {
      for (const [i, from] of ports.entries())
        for (const [j, to] of ports.entries()) lines[i]?.[j]?.set(settings(from, to, links), now);
    },
    counters: () =>
      ports.flatMap((from, i) =>
        ports.flatMap((to, j) => {
          const line = lines[i]?.[j];
          return line ? [{ from: from.name, to: to.name, ...line.counters }] : [];
        }),
      ),
  };
}

const macNumber = (mac: string): number => Number.parseInt(mac.replaceAll(':', ''), 16);
