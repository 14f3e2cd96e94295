/**
 * Keeps a node's data path at what the objects say: informers in, plan and policy tables in the middle, one
 * `apply` on the backend out. Changes that come together are applied together.
 */
import type {
  CalicoGlobalNetworkPolicy,
  CalicoGlobalNetworkSet,
  CalicoNetworkPolicy,
  CalicoNetworkSet,
  CalicoTier,
} from '../../api/calico-types.ts';
import { serviceOf } from '../../api/labels.ts';
import type {
  CiliumCidrGroup,
  CiliumClusterwideNetworkPolicy,
  CiliumNetworkPolicy,
} from '../../api/cilium-policy-types.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  EndpointSlice,
  NetworkPolicy,
  Node,
  Service,
  ServiceAccount,
  UplinkProtection,
} from '../../api/types.ts';
import type { CiliumNode, CiliumPodIpPool } from '../../api/ipam-types.ts';
import type { Informer } from '../../client/informer.ts';
import type { Backend, Difference } from '../../datapath/backend.ts';
import type { NodeView } from '../../datapath/dump/source.ts';
import type { HostPortPod } from '../../datapath/plan/host-ports.ts';
import type { Plan } from '../../datapath/plan/plan.ts';
import type { Change, LocalPod, PlanState, Routing, Settings } from '../../datapath/plan/tables.ts';
import { createBackoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import { sameJson } from '../../lib/json.ts';
import type { Log } from '../../lib/log.ts';
import { createAwaited } from './awaited.ts';
import { handedOver, until } from './datapath-words.ts';
import { watchGranted, withGranted } from './granted-ranges.ts';
import { createReferred, isOfApiServer } from '../refer-objects.ts';
import { unlessAborted } from '../../lib/signals.ts';
import type { PolicyObject } from '../../policy/objects.ts';
import { policyText } from '../../policy/decision.ts';
import type { PolicyProblem, PolicyTables, RuleInfo } from '../../policy/tables.ts';
import { type AnyObject, surroundingsOf } from '../../policy/surroundings.ts';
import type {
  Surroundings,
  World,
  WorldNamespace,
  WorldPod,
  WorldServiceAccount,
} from '../../policy/world.ts';
import { createWorldNodes } from './world-nodes.ts';

export interface DatapathInformers {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly nodes: Informer<Node>;
  readonly policies: Informer<NetworkPolicy>;
  /** Absent: there are none of the kind. */
  readonly adminPolicies?: Informer<AdminNetworkPolicy>;
  readonly baselinePolicies?: Informer<BaselineAdminNetworkPolicy>;
  readonly clusterPolicies?: Informer<ClusterNetworkPolicy>;
  readonly calicoPolicies?: Informer<CalicoNetworkPolicy>;
  readonly globalPolicies?: Informer<CalicoGlobalNetworkPolicy>;
  readonly tiers?: Informer<CalicoTier>;
  readonly networkSets?: Informer<CalicoNetworkSet>;
  readonly globalNetworkSets?: Informer<CalicoGlobalNetworkSet>;
  readonly serviceAccounts?: Pick<
    Informer<ServiceAccount, WorldServiceAccount>,
    'list' | 'onChange' | 'synced'
  >;
  readonly ciliumPolicies?: Informer<CiliumNetworkPolicy>;
  readonly clusterwidePolicies?: Informer<CiliumClusterwideNetworkPolicy>;
  readonly cidrGroups?: Informer<CiliumCidrGroup>;
  /** Absent: nodes have their first blocks only. */
  readonly podPools?: Informer<CiliumPodIpPool>;
  readonly blockHolders?: Informer<CiliumNode>;
  /** Absent: nothing protects uplinks. */
  readonly protections?: Informer<UplinkProtection>;
  readonly pods: Pick<Informer<never, WorldPod | undefined>, 'list' | 'onChange' | 'synced' | 'get'>;
  readonly namespaces: Pick<Informer<never, WorldNamespace>, 'list' | 'onChange' | 'synced'>;
}

/** Rules that are gone and still remembered: their records may be on their way. */
const FORMER_RULES = 10_000;

/** Differences that the status names: an empty kernel differs by all that there is. */
const MAX_MENDED = 1000;

export interface AttachedPod extends LocalPod {
  /** Of the object that it was made for. */
  readonly uid: string;
}

export interface DatapathDeps {
  readonly node: string;
  readonly informers: DatapathInformers;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly settings: Settings;
  /** Pure; may remember what it compiled before. */
  compile(world: World, options: { onlyNode: string }): PolicyTables;
  /** Pods that have a link on this node now, whatever the API server knows of them yet. */
  localPods(): readonly AttachedPod[];
  /** What has ports of this node; absent: nothing. */
  hostPorts?(): readonly HostPortPod[];
  readonly nodeLocal: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each time that the backend was given something, or refused it. */
  record?(outcome: DatapathOutcome): void;
}

/** `ms`: how long the backend took. */
export type DatapathOutcome =
  | { readonly step: 'prune'; readonly ms: number; readonly differences: readonly Difference[] }
  | {
      readonly step: 'apply';
      readonly ms: number;
      /** Milliseconds since the first of these changes was heard of. */
      readonly sinceHeard: number;
      readonly changes: readonly Change[];
    }
  | { readonly step: 'failed' };

export interface DatapathController {
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when the kernel has it. */
  setRouting(routing: Routing): Promise<void>;
  /** Call when `localPods` has changed. */
  podsChanged(): void;
  /** Resolves when a pod of this node (its uid) has its links, policy and routes in the kernel. */
  settled(uid: string, signal: AbortSignal): Promise<void>;
  /** Resolves after the first convergence. */
  ready(): Promise<void>;
  /** Whether what was last programmed is what the objects said then. */
  isReady(): boolean;
  rule(number: number): RuleInfo | undefined;
  verify(): Promise<Difference[]>;
  /** Makes the kernel what the plan says, where it is not; says where that was. Not before the first convergence. */
  mend(): Promise<Difference[]>;
  status(): DatapathStatus;
  /** The plan's tables as of the last round. */
  readonly state: PlanState;
  /** The plan as it was last compiled, with the names of all pods and nodes of the cluster. */
  view(): NodeView;
}

export interface DatapathStatus {
  readonly ready: boolean;
  /** Times that something was applied, and that applying failed. */
  readonly applied: number;
  readonly failed: number;
  /** What the first convergence had to mend. */
  readonly mended: readonly Difference[];
  readonly lastError: string | undefined;
  /** Entries a table. */
  readonly entries: Readonly<Record<string, number>>;
  /** Fields of objects that this data path does not act on. */
  readonly problems: readonly string[];
}

/** Of lists of which mostly all but one are empty; tens of thousands are not copied then. */
function joined<T>(lists: readonly (readonly T[])[]): readonly T[] {
  const [first = [], ...others] = lists.filter((list) => list.length > 0);
  return others.length > 0 ? [first, ...others].flat() : first;
}

function createAddressed(): (pod: WorldPod, addresses: readonly string[]) => WorldPod {
  const made = new WeakMap<WorldPod, WorldPod>();
  return (pod, addresses) => {
    const known = made.get(pod);
    if (known && sameJson(known.addresses, addresses)) return known;
    const addressed = { ...pod, addresses };
    made.set(pod, addressed);
    return addressed;
  };
}

export function createDatapathController(deps: DatapathDeps): DatapathController {
  const { informers, plan, backend, log } = deps;
  const policyInformers = [
    informers.policies,
    informers.adminPolicies,
    informers.baselinePolicies,
    informers.clusterPolicies,
    informers.calicoPolicies,
    informers.globalPolicies,
    informers.ciliumPolicies,
    informers.clusterwidePolicies,
  ].filter((informer) => informer !== undefined);
  const surrounding = [
    informers.tiers,
    informers.networkSets,
    informers.globalNetworkSets,
    informers.cidrGroups,
  ].filter((informer) => informer !== undefined);
  const referred = createReferred(informers);
  const slicesOf = informers.slices.byIndex('service', (slice) => [serviceOf(slice)]);
  const first = Promise.withResolvers<void>();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  const done = new Set<string>();
  const rules = new Map<number, RuleInfo>();
  const former = new Map<number, RuleInfo>();
  const counts = { applied: 0, failed: 0 };
  let mended: readonly Difference[] = [];
  let lastError: string | undefined;
  const withAddresses = createAddressed();
  const worldNodes = createWorldNodes();
  let policyDirty = true;
  /** What policies ask for and is denied, for want of somebody who does it. */
  let beyond: readonly PolicyProblem[] = [];
  /** What policies refer to; undefined: to be read anew. */
  let surroundings: Surroundings | undefined;
  let converged = false;
  const awaited = createAwaited();
  let wake: () => void = () => {};
  /** When the first change came that no round has seen. */
  let heard: number | undefined;
  const kick = (): void => {
    heard ??= deps.clock.monotonic();
    wake();
  };

  function watchObjects(): void {
    informers.services.onChange((key, now) => {
      if (now) plan.setService(now);
      else plan.removeService(key);
      touchServices(key === 'default/kubernetes');
      kick();
    });
    informers.slices.onChange((_key, now, before) => {
      for (const slice of [now, before])
        if (slice) plan.setSlices(serviceOf(slice), slicesOf(serviceOf(slice)));
      touchServices([now, before].some((slice) => slice !== undefined && isOfApiServer(slice)));
      kick();
    });
    informers.nodes.onChange((key, now) => {
      let isNews = true;
      if (now) isNews = plan.setNode(now);
      else plan.removeNode(key);
      if (worldNodes.set(key, now)) touchPolicy();
      else if (isNews) kick();
    });
    watchGranted(informers, plan, setSettings);
    informers.protections?.onChange((key, now) => {
      if (now) plan.setProtection(now);
      else plan.removeProtection(key);
      kick();
    });
    for (const informer of [...policyInformers, informers.pods, informers.serviceAccounts])
      informer?.onChange(touchPolicy);
    for (const informer of [
      informers.ciliumPolicies,
      informers.clusterwidePolicies,
      informers.calicoPolicies,
      informers.globalPolicies,
    ])
      informer?.onChange(() => touchServices());
    for (const informer of surrounding)
      informer.onChange(() => {
        surroundings = undefined;
        touchPolicy();
      });
    informers.namespaces.onChange(() => {
      // Its labels are its network sets' too.
      if ((informers.networkSets?.list() ?? []).length > 0) surroundings = undefined;
      touchPolicy();
    });
  }

  function setSettings(): void {
    plan.setSettings(withGranted(deps.settings, deps.node, informers));
    kick();
  }

  function touchPolicy(): void {
    policyDirty = true;
    kick();
  }

  /** The API server learns a pod's addresses later than this node does; the policy must not wait for it. */
  function pods(local: ReadonlyMap<string, LocalPod>): WorldPod[] {
    const all: WorldPod[] = [];
    for (const pod of informers.pods.list()) {
      if (!pod) continue;
      const isElsewhere = pod.node !== '' && pod.node !== deps.node;
      const here = isElsewhere ? undefined : local.get(`${pod.namespace}/${pod.name}`);
      all.push(here ? withAddresses(pod, here.addresses) : pod);
    }
    return all;
  }

  /** @param ofApiServer it may be what the API server is reached by */
  function touchServices(ofApiServer = true): void {
    if (!referred.isTouched(ofApiServer)) return;
    surroundings = undefined;
    touchPolicy();
  }

  function compilePolicy(local: ReadonlyMap<string, LocalPod>): void {
    const namespaces = informers.namespaces.list();
    surroundings ??= surroundingsOf(
      [...surrounding.flatMap((informer): readonly AnyObject[] => informer.list()), ...referred.services()],
      namespaces,
    );
    const world: World = {
      pods: pods(local),
      namespaces,
      serviceAccounts: informers.serviceAccounts?.list() ?? [],
      surroundings,
      nodes: worldNodes.list(),
      policies: joined(policyInformers.map((informer): readonly PolicyObject[] => informer.list())),
      nodeLocal: deps.nodeLocal,
    };
    const tables = deps.compile(world, { onlyNode: deps.node });
    plan.setPolicy(tables);
    beyond = tables.beyond ?? [];
    for (const problem of [...tables.problems, ...(tables.beyond ?? [])])
      log.warn('a policy is not enforced as it is written', {
        policy: problem.policy,
        path: problem.path,
        problem: problem.message,
      });
  }

  /** Records of a rule can arrive after the rule is gone: what it was is remembered. */
  function remember(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.table !== 'rules') continue;
      const number = Number(change.key);
      const info = change.value ?? rules.get(number);
      rules.delete(number);
      former.delete(number);
      if (info) (change.value ? rules : former).set(number, info);
    }
    for (const number of former.keys()) {
      if (former.size <= FORMER_RULES) return;
      former.delete(number);
    }
  }

  /** Without the very object there is no policy for a pod; the data path lets nothing of it pass until there is. */
  const isKnown = ({ namespace, name, uid }: AttachedPod): boolean => {
    const object = informers.pods.get(`${namespace}/${name}`);
    return object !== undefined && (object.uid ?? uid) === uid;
  };

  async function sync(): Promise<void> {
    const local = new Map(
      deps
        .localPods()
        .filter(isKnown)
        .map((pod) => [`${pod.namespace}/${pod.name}`, pod] as const),
    );
    const since = heard;
    heard = undefined;
    const answer = awaited.begin();
    if (policyDirty) {
      policyDirty = false;
      compilePolicy(local);
    }
    plan.setLocalPods([...local.values()]);
    plan.setHostPorts(deps.hostPorts?.() ?? []);
    const changes = plan.update();
    remember(changes);
    const began = deps.clock.monotonic();
    const ms = () => deps.clock.monotonic() - began;
    if (!converged) {
      const differences = await backend.prune(plan.state);
      if (counts.applied === 0)
        mended = differences.slice(0, MAX_MENDED).map(({ kind, what }) => ({ kind, what }));
      converged = true;
      log.info('the data path holds what the objects say', {
        backend: backend.name,
        ms: Math.round(ms()),
        mended: differences.length,
      });
      deps.record?.({ step: 'prune', ms: ms(), differences });
    } else if (changes.length > 0) {
      await backend.apply(changes);
      const sinceHeard = deps.clock.monotonic() - (since ?? began);
      deps.record?.({ step: 'apply', ms: ms(), sinceHeard, changes });
    } else return settle(local, answer);
    counts.applied++;
    lastError = undefined;
    settle(local, answer);
    first.resolve();
  }

  function settle(local: ReadonlyMap<string, AttachedPod>, answer: () => void): void {
    answer();
    done.clear();
    for (const { uid } of local.values()) {
      done.add(uid);
      waiting.get(uid)?.resolve();
      waiting.delete(uid);
    }
  }

  async function loop(signal: AbortSignal): Promise<void> {
    const backoff = createBackoff(50, 5000);
    while (!signal.aborted) {
      const kicked = new Promise<void>((resolve) => {
        wake = resolve;
      });
      try {
        await sync();
        backoff.reset();
        await until(kicked, signal);
      } catch (error) {
        counts.failed++;
        deps.record?.({ step: 'failed' });
        lastError = errorText(error);
        // What the kernel holds now is not known: converge again instead of building on it.
        converged = false;
        policyDirty = true;
        log.error('the data path could not be programmed; trying again', { error: lastError });
        await deps.clock.sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  // From the beginning: informers tell of each object once, and `run` may be called after they have synced.
  watchObjects();
  setSettings();

  return {
    async run(signal) {
      const all = Object.values(informers).map((informer) => informer.synced());
      await until(Promise.all(all), signal);
      await loop(signal);
    },
    setRouting(routing) {
      plan.setSettings({ ...deps.settings, routing });
      kick();
      return awaited.next();
    },
    podsChanged: touchPolicy,
    async settled(uid, signal) {
      if (done.has(uid)) return;
      const entry = waiting.get(uid) ?? Promise.withResolvers<void>();
      waiting.set(uid, entry);
      try {
        await unlessAborted(entry.promise, signal);
      } finally {
        if (signal.aborted) waiting.delete(uid);
      }
    },
    ready: () => first.promise,
    isReady: () => converged,
    rule: (number) => rules.get(number) ?? former.get(number),
    verify: () => backend.verify(),
    mend: async () => (converged ? backend.prune(plan.state) : []),
    state: plan.state,
    view: () => ({
      node: deps.node,
      backend: backend.name,
      state: plan.state,
      pods: pods(plan.state.pods).flatMap(({ hostNetwork, namespace, name, node, addresses }) =>
        hostNetwork || addresses.length === 0 ? [] : [{ pod: `${namespace}/${name}`, node, addresses }],
      ),
      nodes: worldNodes.list(),
    }),
    status: () => ({
      ready: converged,
      ...counts,
      mended,
      lastError,
      entries: Object.fromEntries(Object.entries(plan.state).map(([name, table]) => [name, table.size])),
      problems: [
        ...plan.problems(backend).map(({ object, field, message }) => `${object} ${field}: ${message}`),
        ...[...plan.state.rules.values()].flatMap(handedOver),
        ...beyond.map(({ policy, path, message }) => `${policyText(policy)} ${path}: ${message}`),
      ],
    }),
  };
}
