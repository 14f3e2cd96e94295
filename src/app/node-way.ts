/**
 * The way between nodes, as this one goes it: what the cluster has, or where the node stands in a change from it. A
 * file says so before the kernel does: an agent that dies amid a change goes on from there, and a cluster that was
 * down begins with its configuration.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { PodLink, PodMtu } from '../cni/pod-mtu.ts';
import type { NodeConfig } from '../cluster/config.ts';
import { type Encapsulation, ENCAPSULATIONS, podMtu, type Tunnel } from '../datapath/encapsulation.ts';
import type { Routing } from '../datapath/plan/tables.ts';
import { ROUTE_STEPS, takeStep, wayOf, type WayOfNode } from '../datapath/route-steps.ts';
import type { TunnelFeatures } from '../kernel/tunnel-features.ts';
import { errnoCode, errorText, HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import { sameJson } from '../lib/json.ts';
import type { Log } from '../lib/log.ts';

/** @param underlayMtu of the link that nodes share, as the kernel says it */
export const podMtuBy =
  ({ addresses, podCidrs }: Pick<NodeConfig, 'addresses' | 'podCidrs'>, underlayMtu: () => number) =>
  (encapsulation: Encapsulation): number =>
    podMtu({
      encapsulation,
      underlayFamily: addresses[0]?.includes(':') ? 6 : 4,
      underlayMtu: underlayMtu(),
      podFamilies: podCidrs.map((cidr) => (cidr.includes(':') ? 6 : 4)),
    });

export interface NodeWayDeps {
  readonly path: string;
  /** What the cluster was started with, or went over to since. */
  readonly configured: Encapsulation;
  /** What pods may send by it. @throws HeddleError `UnderlayMtu` */
  mtuOf(way: Encapsulation): number;
  /** Of this kernel. */
  features(): TunnelFeatures;
  /** The underlay's. */
  readonly isIpv6Only: boolean;
  /** Whether its link can have its name. @throws HeddleError `TunnelNameTaken` */
  refuseTaken(tunnel: Tunnel): void;
  /** Resolves when the data path has it. */
  program(routing: Routing): Promise<void>;
  /** Pods that have links now. */
  pods(): readonly PodLink[];
  setPodMtu(pod: PodLink, mtu: PodMtu): void;
  readonly log: Log;
}

export interface NodeWay {
  now(): WayOfNode;
  routing(): Routing;
  /** @throws HeddleError `RouteStep`, `NoTunnel`, `TunnelNameTaken`, `UnderlayMtu`, `BadRequest` */
  step(step: string, to: string): Promise<WayOfNode>;
  /** Pods have come: one that was made while a step was taken may be as before it. */
  podsChanged(): void;
}

/** @throws HeddleError `NoTunnel` where the kernel does not have what the node sends by */
export function createNodeWay(deps: NodeWayDeps): NodeWay {
  const { path, configured, mtuOf, log } = deps;
  const kept = read(path);
  let way: WayOfNode = kept ?? wayOf(configured, mtuOf);
  for (const each of way.accepts) refuseMissing(each, deps);
  /** Pods that are known to be as `way` says; undefined: nothing has changed since this process began, nor before. */
  let done: Set<string> | undefined = kept ? new Set() : undefined;
  let queue: Promise<unknown> = Promise.resolve();
  /** What the data path is known to have: at first nothing, whatever the file says. */
  let programmed: Routing | undefined;

  const routing = ({ sends, accepts }: WayOfNode): Routing => ({ sends, accepts });

  function setPods(): void {
    if (!done) return;
    for (const pod of deps.pods()) {
      const name = `${pod.interface} ${pod.netns ?? ''}`;
      if (done.has(name)) continue;
      try {
        deps.setPodMtu(pod, way);
        done.add(name);
      } catch (error) {
        log.warn('a pod keeps the MTU that it had', { link: pod.interface, error: errorText(error) });
      }
    }
  }

  async function program(): Promise<WayOfNode> {
    const wanted = routing(way);
    if (sameJson(wanted, programmed)) return way;
    await deps.program(wanted);
    programmed = wanted;
    return way;
  }

  async function take(step: string, to: string): Promise<WayOfNode> {
    const known = ROUTE_STEPS.find((each) => each === step);
    const goal = ENCAPSULATIONS.find((each) => each === to);
    if (!known || !goal)
      throw new HeddleError(
        'BadRequest',
        `step ${step} to ${to}: expected ${ROUTE_STEPS.join(', ')} to ${ENCAPSULATIONS.join(', ')}`,
      );
    refuseMissing(goal, deps);
    const next = takeStep(way, known, goal, mtuOf);
    // Of a step that was taken before an agent died, the other nodes rely on no less.
    if (sameJson(next, way)) return program();
    if (goal !== 'native' && !way.accepts.includes(goal)) deps.refuseTaken(goal);
    const before = way;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, `${JSON.stringify(next)}\n`, { mode: 0o600, synced: true });
    way = next;
    await program();
    if (next.mtu !== before.mtu || next.limit !== before.limit) {
      done = new Set();
      setPods();
    }
    log.info('the way between nodes has changed', { step: known, ...next });
    return way;
  }

  return {
    now: () => way,
    routing: () => routing(way),
    step(step, to) {
      const next = queue.then(() => take(step, to));
      queue = next.catch(() => {});
      return next;
    },
    podsChanged: setPods,
  };
}

/** What the kernel must have for a way, and does not. */
export function refuseMissing(
  way: Encapsulation,
  { features, isIpv6Only }: Pick<NodeWayDeps, 'features' | 'isIpv6Only'>,
): void {
  if (way === 'native') return;
  const { ok, why, hint } = features()[way === 'gre' && isIpv6Only ? 'ip6gre' : way];
  if (ok) return;
  throw new HeddleError('NoTunnel', `this kernel has no ${way.toUpperCase()}: ${why ?? 'missing'}`, {
    hint: `${hint ?? ''}; or choose another way between nodes, such as vxlan or native`,
  });
}

/** Of this run of the cluster: the file goes when it goes down. It wins over the configuration, which may be older. */
function read(path: string): WayOfNode | undefined {
  try {
    const way = JSON.parse(readFileSync(path, 'utf8')) as Partial<WayOfNode> | null;
    const known = (each: unknown) => ENCAPSULATIONS.some((one) => one === each);
    const isWhole = known(way?.sends) && way?.accepts?.every(known) && Number.isInteger(way.mtu);
    return isWhole ? (way as WayOfNode) : undefined;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
