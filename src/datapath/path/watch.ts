/**
 * Proves the paths to all other nodes, again and again: packets as large as pods may send them, through the
 * encapsulation and on the underlay below it. Each node asks the others, so the cost is that of one probe per node,
 * family and round; what is answered at once costs no second one.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { RemoteNode } from '../plan/tables.ts';
import { probeAddress } from './address.ts';
import { judgePath, LEAST_TIMEOUT, type PathVerdict, type Probe } from './judge.ts';
import { familyOf, pathText } from './words.ts';

export interface PathReport {
  readonly node: string;
  readonly family: 4 | 6;
  /** Of what pods send. */
  readonly verdict: PathVerdict;
  /** Of the underlay below, where pods' packets vanish. */
  readonly underlay?: PathVerdict;
}

export interface PathWatchDeps {
  probe(to: string, length: number, timeoutMs: number): Promise<number | undefined>;
  /** Where this node answers no probes of others, in words. */
  silent?(): readonly string[];
  /** All others, as they are now. */
  nodes(): readonly RemoteNode[];
  readonly node: string;
  /** `vxlan`, as it is now. */
  encapsulation(): string;
  /** Of the way that packets take now. */
  podMtu(): number;
  readonly underlayMtu: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds before a path is proved again. Default 60,000, and more where there are many nodes. */
  readonly interval?: number;
  /** Milliseconds before a black hole is looked at again, to be sure. Default 5,000. */
  readonly confirm?: number;
  /** Milliseconds between single large packets into a black hole that is known: it may be mended. Default 10,000. */
  readonly again?: number;
}

export interface PathWatch {
  run(signal: AbortSignal): Promise<void>;
  reports(): PathReport[];
  /** In words. */
  blackHoles(): string[];
  /** Proved (or not) now. */
  check(node: string): Promise<PathReport[]>;
  /** Round trips of small packets on the underlay, in milliseconds, of those that were answered. */
  roundTrips(node: string, asked: { count: number; timeoutMs: number }): Promise<number[]>;
  /** For the node's object. */
  condition(): {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  };
}

const INTERVAL = 60_000;
const CONFIRM = 5_000;
const AGAIN = 10_000;
const LOOK = 1000;
/** Twice that after the first look that nothing was answered, and doubled with each one more. */
const SILENT = 1000;
/** Between round trips that are measured. */
const GAP = 20;
/** Nodes that are asked at once, and per second in the long run. */
const AT_ONCE = 4;
const PER_SECOND = 8;
/** Every link carries as much. */
const SMALL = 128;
const CONDITION = 'heddle.dev/PathMTU';

interface Known {
  key: string;
  reports: PathReport[];
  /** Black holes that were seen once: they count when they are seen again. */
  suspected: boolean;
  due: number;
  /** Until then a known black hole is only asked whether it is one still. */
  stands: number;
  /** Looks in a row that nothing was answered. */
  silent: number;
  busy: boolean;
}

export function createPathWatch(deps: PathWatchDeps): PathWatch {
  const { node, underlayMtu, clock, log, again = AGAIN } = deps;
  const known = new Map<string, Known>();
  const probeOf =
    (to: string): Probe =>
    (length, timeoutMs) =>
      deps.probe(to, length, timeoutMs);

  /** Pods' packets of one family; and, where they vanish, the underlay's. */
  async function proveFamily(remote: RemoteNode, family: 4 | 6): Promise<PathReport | undefined> {
    const cidr = remote.podCidrs.find((each) => familyOf(each) === family);
    if (cidr === undefined) return undefined;
    const verdict = await judgePath({
      probe: probeOf(probeAddress(cidr)),
      full: deps.podMtu(),
      small: SMALL,
    });
    const [below] = remote.addresses;
    if (verdict.state !== 'black-hole' || below === undefined) return { node: remote.node, family, verdict };
    const underlay = await judgePath({ probe: probeOf(below), full: underlayMtu, small: SMALL });
    return { node: remote.node, family, verdict, underlay };
  }

  async function prove(remote: RemoteNode): Promise<PathReport[]> {
    const reports = await Promise.all(([4, 6] as const).map((family) => proveFamily(remote, family)));
    return reports.filter((report) => report !== undefined);
  }

  const interval = () => Math.max(deps.interval ?? INTERVAL, (known.size / PER_SECOND) * 1000);

  async function look(remote: RemoteNode, one: Known): Promise<void> {
    one.busy = true;
    try {
      if (clock.monotonic() < one.stands && (await swallowsStill(remote, one))) {
        one.due = clock.monotonic() + again;
        return;
      }
      const reports = await prove(remote);
      const hole = reports.some(({ verdict }) => verdict.state === 'black-hole');
      const sure = !hole || one.suspected;
      one.suspected = hole;
      const now = clock.monotonic();
      one.silent = reports.every(({ verdict }) => verdict.state === 'unreachable') ? one.silent + 1 : 0;
      // Nodes of a cluster that comes up are not all there at once.
      const later = one.silent > 0 ? Math.min(interval(), SILENT * 2 ** one.silent) : interval();
      one.due = now + (!sure ? (deps.confirm ?? CONFIRM) : hole ? again : later);
      if (!sure) return;
      one.stands = hole ? now + interval() : now;
      tell(one, reports);
    } finally {
      one.busy = false;
    }
  }

  /** None of the large packets that it swallowed arrives now. */
  async function swallowsStill(remote: RemoteNode, { reports }: Known): Promise<boolean> {
    const holes = reports.filter(({ verdict }) => verdict.state === 'black-hole');
    const rtts = await Promise.all(
      holes.map(({ family, verdict }) => {
        const cidr = remote.podCidrs.find((each) => familyOf(each) === family);
        const rtt = verdict.state === 'black-hole' ? verdict.rtt : 0;
        if (cidr === undefined) return Promise.resolve(undefined);
        return deps.probe(probeAddress(cidr), deps.podMtu(), LEAST_TIMEOUT + 4 * rtt);
      }),
    );
    return rtts.every((rtt) => rtt === undefined);
  }

  function tell(one: Known, reports: PathReport[]): void {
    const before = new Set(one.reports.map((each) => pathText(each, context())));
    one.reports = reports;
    for (const report of reports) {
      const text = pathText(report, context());
      if (!before.has(text) && report.verdict.state === 'black-hole') log.warn(text);
    }
  }

  const context = () => ({ node, encapsulation: deps.encapsulation(), podMtu: deps.podMtu(), underlayMtu });

  /** Nodes that came or changed are due; those that went are forgotten. */
  function follow(): [RemoteNode, Known][] {
    const nodes = deps.nodes();
    const names = new Set(nodes.map((each) => each.node));
    for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    return nodes.map((remote) => {
      const key = JSON.stringify([remote, deps.encapsulation()]);
      const before = known.get(remote.node);
      if (before?.key === key) return [remote, before];
      const fresh: Known = { key, reports: [], suspected: false, due: 0, stands: 0, silent: 0, busy: false };
      known.set(remote.node, fresh);
      return [remote, fresh];
    });
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const all = follow();
      const room = AT_ONCE - all.filter(([, { busy }]) => busy).length;
      const due = all.filter(([, one]) => !one.busy && one.due <= clock.monotonic());
      for (const [remote, one] of due.slice(0, Math.max(0, room)))
        look(remote, one).catch((error: unknown) => {
          one.due = clock.monotonic() + interval();
          log.warn('a path could not be probed', { node: remote.node, error: errorText(error) });
        });
      await clock.sleep(LOOK, signal).catch(() => {});
    }
  }

  const all = () => [...known.values()].flatMap(({ reports }) => reports);
  const holes = () => all().filter(({ verdict }) => verdict.state === 'black-hole');
  const remoteOf = (name: string) => deps.nodes().find((each) => each.node === name);

  return {
    run,
    reports: all,
    blackHoles: () => holes().map((hole) => pathText(hole, context())),
    async check(name) {
      const remote = remoteOf(name);
      if (!remote) return [];
      const reports = await prove(remote);
      const one = known.get(name);
      if (one) {
        one.suspected = reports.some(({ verdict }) => verdict.state === 'black-hole');
        tell(one, reports);
      }
      return reports;
    },
    async roundTrips(name, { count, timeoutMs }) {
      const to = remoteOf(name)?.addresses[0];
      if (to === undefined) return [];
      const asked: Promise<number | undefined>[] = [];
      for (let i = 0; i < count; i++) {
        asked.push(deps.probe(to, SMALL, timeoutMs));
        await clock.sleep(GAP);
      }
      return (await Promise.all(asked)).filter((rtt) => rtt !== undefined);
    },
    condition() {
      const reports = all();
      const swallowing = holes();
      if (swallowing.length > 0) {
        const texts = swallowing.slice(0, 3).map((hole) => pathText(hole, context()));
        if (swallowing.length > 3) texts.push(`and ${swallowing.length - 3} more`);
        return { type: CONDITION, status: 'False', reason: 'BlackHole', message: texts.join('; ') };
      }
      const silent = deps.silent?.() ?? [];
      if (silent.length > 0)
        return { type: CONDITION, status: 'Unknown', reason: 'PortTaken', message: silent.join('; ') };
      if (known.size > 0 && reports.every(({ verdict }) => verdict.state !== 'proved'))
        return {
          type: CONDITION,
          status: 'Unknown',
          reason: 'NotProved',
          message: 'no other node has answered',
        };
      const message = `packets of ${deps.podMtu()} bytes reach every node that answers`;
      return { type: CONDITION, status: 'True', reason: 'Proved', message };
    },
  };
}
