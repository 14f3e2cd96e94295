/**
 * BGP on a node: its CiliumBGPNodeConfig becomes speakers, Services and ranges become routes, and how sessions fare
 * goes into the object's status. A speaker goes on while only its peers change.
 */
import type {
  CiliumBgpAdvertisement,
  CiliumBgpNodeConfig,
  CiliumBgpPeerConfig,
} from '../../api/cilium-bgp-types.ts';
import type { CiliumNode, CiliumPodIpPool } from '../../api/ipam-types.ts';
import { CILIUM_BGP_NODE_CONFIG } from '../../api/kinds.ts';
import type { Service } from '../../api/types.ts';
import { isConflict, isNotFound } from '../../client/api-error.ts';
import type { Informer } from '../../client/informer.ts';
import type { Client } from '../../client/types.ts';
import type { PlanState } from '../../datapath/plan/tables.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Family } from '../../lib/ip.ts';
import { sameJson } from '../../lib/json.ts';
import type { Log } from '../../lib/log.ts';
import { aborted } from '../../lib/signals.ts';
import { timestamp } from '../loop.ts';
import { type ObservedCondition, withObserved } from '../policy-status-plan.ts';
import { type Gateway, planInstances } from './bgp-plan.ts';
import { instanceStatus, type NamedSpeaker } from './bgp-report.ts';
import { type BgpMemory, createSpeakers, type StartSpeaker } from './bgp-speakers.ts';

export interface NodeBgpDeps {
  readonly client: Pick<Client, 'updateStatus'>;
  readonly node: string;
  /** Of the node, IPv4 first. */
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  /** Of the cluster's pods, services and nodes: nobody tells where these are. */
  readonly clusterCidrs: readonly string[];
  /** This node's only. */
  readonly nodeConfigs: Informer<CiliumBgpNodeConfig>;
  readonly blocks: Pick<Informer<CiliumNode>, 'get' | 'onChange' | 'synced'>;
  readonly pools: Pick<Informer<CiliumPodIpPool>, 'list' | 'onChange' | 'synced'>;
  readonly peerConfigs: Informer<CiliumBgpPeerConfig>;
  readonly advertisements: Informer<CiliumBgpAdvertisement>;
  readonly services: Pick<Informer<Service>, 'list' | 'onChange' | 'synced'>;
  /** Begins to follow Secrets, once somebody needs one. */
  secrets(): BgpSecrets;
  readonly plan: Pick<PlanState, 'services'>;
  /** Resolves when the data path serves what is told. */
  readonly ready: Promise<void>;
  readonly startSpeaker: StartSpeaker;
  readonly memory: BgpMemory;
  /** Removes routes that speakers have left in the kernel which are not begun again. */
  clearRoutes(metric: number): void;
  gateway(family: Family): Gateway | undefined;
  addressesOf(link: string): readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds between looks at sessions, gateways and links (1000), and between writes of the status (5000). */
  readonly paces?: { readonly tick: number; readonly write: number };
}

/** Passwords by the names of their Secrets. */
export interface BgpSecrets {
  get(name: string): { readonly text: string | undefined } | undefined;
  onChange(listener: () => void): void;
  synced(): Promise<void>;
}

export interface NodeBgp {
  /** Until the signal aborts: then sessions break off without a word, and peers keep routes over the restart. */
  run(signal: AbortSignal): Promise<void>;
  /** The data path has changed: other addresses may have backends here. */
  refresh(): void;
  speakers(): readonly NamedSpeaker[];
  /** What of the configuration cannot be, by instance. */
  problems(): readonly string[];
  /** For good: peers are told, and nothing is begun any more. */
  leave(words: string): Promise<void>;
}

/** Milliseconds that changes gather: at least, and at most where there are so many routes that each pass is dear. */
const SETTLE = { least: 100, most: 5000 };
/** How much longer than a pass the pause before the next one is. */
const SHARE = 4;
const PACES = { tick: 1000, write: 5000 };
const MOST_MESSAGE = 32_000;

export function createNodeBgp(deps: NodeBgpDeps): NodeBgp {
  const { client, node, nodeConfigs, peerConfigs, advertisements, services, blocks, pools, clock } = deps;
  const { tick, write } = deps.paces ?? PACES;
  const log = deps.log.with({ part: 'bgp' });
  const speakers = createSpeakers({ ...deps, log });
  let secrets: BgpSecrets | undefined;
  let isDue = true;
  const gone = new AbortController();
  let wake = () => {};
  let problems: readonly string[] = [];
  let writtenAt = -Infinity;
  let applying: Promise<void> | undefined;
  let took = 0;

  function refresh(): void {
    isDue = true;
    wake();
  }

  function password(name: string): { text: string | undefined } | undefined {
    if (!secrets) {
      secrets = deps.secrets();
      secrets.onChange(refresh);
    }
    return secrets.get(name);
  }

  async function apply(): Promise<void> {
    const config = nodeConfigs.get(node);
    if (!config && speakers.list().length === 0) {
      problems = [];
      return speakers.forgetOthers([]);
    }
    const plan = () =>
      planInstances(config, {
        addresses: deps.addresses,
        podCidrs: deps.podCidrs,
        clusterCidrs: deps.clusterCidrs,
        blocks: blocks.get(node)?.spec.ipam?.pools?.allocated ?? [],
        pools: pools.list(),
        advertisements: advertisements.list(),
        services: services.list(),
        frontends: deps.plan.services.values(),
        peerConfig: (name) => peerConfigs.get(name),
        password,
        gateway: deps.gateway,
        addressesOf: deps.addressesOf,
      });
    let plans = plan();
    // A password that is not here yet is none that is missing.
    if (secrets) {
      await secrets.synced();
      plans = plan();
    }
    const failed = await speakers.apply(plans);
    const now = [
      ...plans.flatMap(({ name, problems: all }) => all.map((each) => `${name}: ${each}`)),
      ...failed,
    ];
    for (const each of now)
      if (!problems.includes(each))
        log.warn('a part of the BGP configuration is not in effect', { why: each });
    problems = now;
  }

  async function report(): Promise<void> {
    const config = nodeConfigs.get(node);
    if (!config || config.metadata.deletionTimestamp) return;
    const condition = {
      type: 'cilium.io/BGPReconcileError',
      status: problems.length > 0 ? 'True' : 'False',
      reason: 'BGPReconcileError',
      message: problems.join('\n').slice(0, MOST_MESSAGE),
    };
    const before = (config.status?.conditions ?? []) as readonly ObservedCondition[];
    const at = { generation: config.metadata.generation, now: timestamp(clock.now()) };
    const status = {
      bgpInstances: speakers.list().map(instanceStatus),
      conditions: [...withObserved(before, condition, at)],
    };
    if (sameJson(status, config.status) || clock.monotonic() - writtenAt < write) return;
    writtenAt = clock.monotonic();
    await client.updateStatus(CILIUM_BGP_NODE_CONFIG, { ...config, status }).then(
      (stored) => nodeConfigs.remember(stored),
      (error: unknown) => {
        // The next look has the newer object, or none.
        if (!isConflict(error) && !isNotFound(error))
          log.warn('the state of BGP sessions was not written', { error: errorText(error) });
      },
    );
  }

  async function once(): Promise<void> {
    isDue = false;
    const begun = clock.monotonic();
    try {
      await apply();
      took = clock.monotonic() - begun;
    } catch (error) {
      isDue = true;
      log.error('the BGP configuration could not be applied', { error: errorText(error) });
    }
  }

  function follow(): void {
    nodeConfigs.onChange((_key, now, before) => {
      if (!sameJson(now?.spec, before?.spec)) refresh();
    });
    peerConfigs.onChange((_key, now, before) => {
      if (!sameJson([now?.spec, now?.metadata.annotations], [before?.spec, before?.metadata.annotations]))
        refresh();
    });
    for (const informer of [advertisements, blocks, pools]) informer.onChange(refresh);
    // Labels and classes; what of a Service the data path follows comes by `refresh`.
    services.onChange(() => {
      if (speakers.list().length > 0) refresh();
    });
  }

  /** Until something has changed and the changes have gathered, or a tick has passed. */
  async function pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    if (!isDue) await Promise.race([promise, clock.sleep(tick, signal).catch(() => {})]);
    wake = () => {};
    const settle = Math.min(Math.max(SETTLE.least, SHARE * took), SETTLE.most);
    if (isDue && !signal.aborted) await clock.sleep(settle, signal).catch(() => {});
  }

  return {
    refresh,
    speakers: speakers.list,
    problems: () => problems,
    async run(signal) {
      follow();
      await Promise.race([
        Promise.all([
          deps.ready,
          ...[nodeConfigs, peerConfigs, advertisements, services, blocks, pools].map((each) => each.synced()),
        ]),
        aborted(signal),
      ]);
      let looks = 0;
      while (!signal.aborted && !gone.signal.aborted) {
        // Gateways, links and ports that were taken tell nobody that they have changed.
        if (isDue || (problems.length > 0 && looks % 5 === 0) || looks % 15 === 0) {
          applying = once();
          await applying;
        }
        if (gone.signal.aborted) break;
        await report();
        looks++;
        await pause(signal);
      }
      if (!gone.signal.aborted) await speakers.closeAll({ graceful: true });
    },
    async leave(words) {
      gone.abort();
      wake();
      await applying;
      await speakers.closeAll({ words });
    },
  };
}
