/** The plan in eBPF maps. What programs and maps there are is up to the parts; README.md lists them. */
import type { Log } from '../../lib/log.ts';
import type { Backend, Capabilities, Difference, NatConnection } from '../backend.ts';
import { endsText } from '../ends.ts';
import { applyChanges, emptyState, type PlanState, SETTINGS_KEY, stateChanges } from '../plan/tables.ts';
import { createCorePart, type CoreDeps } from './core/part.ts';
import { readRuleCounters } from './core/counters.ts';
import { createEvents } from './core/events.ts';
import { createFlowReader } from './core/flows.ts';
import { readDrops } from './drops.ts';
import { sendingLink } from '../routing.ts';
import type { Programs } from './loader.ts';
import { mapMemory } from './map-memory.ts';
import type { Part } from './part.ts';
import { readPodUse } from './pod-use.ts';
import { createProbe } from './probe.ts';

export interface EbpfDeps extends CoreDeps {
  readonly programs: Programs;
  /** Beside the core: services, translation. Changes are told to them before the core, in this order. */
  readonly parts: readonly Part[];
  readonly log: Log;
  /** Milliseconds since 1970. Default: the wall clock. */
  readonly now?: () => number;
  /** What the parts add to what the core can. */
  readonly capabilities?: Partial<Capabilities>;
  /** The rest of the contract, where parts give it. */
  readonly extras?: Partial<Pick<Backend, 'translated' | 'remove' | 'flows' | 'pressure' | 'drops'>>;
}

const CORE: Capabilities = {
  families: [4, 6],
  policy: true,
  cutsEstablished: true,
  sessionAffinity: false,
};

/** Modes of bpf/include/handover.h. */
const STANDING = { nothing: 0, unknown: 1, begun: 2, hold: 3 } as const;

export function createEbpfBackend(deps: EbpfDeps): Backend {
  const { programs, log } = deps;
  const core = createCorePart(deps);
  const parts: readonly Part[] = [...deps.parts, core];
  const events = createEvents(programs, deps.now ?? Date.now);
  const flows = createFlowReader(programs);
  const state = emptyState();
  const probe = createProbe({
    programs,
    ns: deps.ns,
    links: () => deps.route.links(),
    pods: () => state.pods,
    uplink,
    tunnel: () => sendingLink(state.settings.get(SETTINGS_KEY)),
    isAttached: (program, link) => parts.some((part) => part.runs?.(program, link)),
  });
  let isPruned = false;
  const handover = programs.control('handover');
  let standing: 'nothing' | 'begun' | 'unknown' = 'nothing';
  const stand = (mode: keyof typeof STANDING): void => handover.set('mode', STANDING[mode]);
  const edge = parts.find((part) => part.takeOver);

  /** While links change one by one, what only the other ones' programs know is held back. */
  function pruneParts(next: PlanState): Difference[] {
    const isUpgrade = !isPruned && standing === 'nothing' && programs.migrations.length > 0;
    stand(isUpgrade ? 'hold' : standing);
    try {
      // Policy is there before anything that translates towards it.
      return [core, ...deps.parts].flatMap((part) => part.prune(next));
    } finally {
      if (isUpgrade) {
        programs.catchUp();
        stand('nothing');
      }
    }
  }

  function applied(): typeof state {
    if (!isPruned) throw new TypeError('the data path is not pruned yet: prune(state) comes before apply');
    return state;
  }

  function uplink(): number | undefined {
    const own = new Set(state.settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    return deps.route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''))?.link;
  }

  /** Asks the kernel once for all links, and not where nobody asks for one. */
  function podsByLink(): (link: number) => string | undefined {
    const read = () => {
      const indices = new Map(deps.route.links().map(({ name, index }) => [name, index]));
      return new Map(
        [...state.pods].map(([, pod]) => [indices.get(pod.interface), `${pod.namespace}/${pod.name}`]),
      );
    };
    let pods: ReturnType<typeof read> | undefined;
    return (link) => (pods ??= read()).get(link);
  }

  return {
    name: 'ebpf',
    capabilities: { ...CORE, ...deps.capabilities },
    async apply(changes) {
      applyChanges(applied(), changes);
      for (const part of parts) part.apply(changes);
    },
    async prune(next) {
      const all = stateChanges(next);
      for (const table of Object.values(state)) table.clear();
      applyChanges(state, all);
      const mended = pruneParts(next);
      // Every link runs these programs now: what earlier ones learned moves over, their maps go.
      programs.settle();
      isPruned = true;
      if (mended.length > 0) log.debug('the eBPF data path was mended', { count: mended.length });
      return mended;
    },
    async verify() {
      const current = applied();
      return parts.flatMap((part) => part.verify(current));
    },
    counters: async () => readRuleCounters(programs.map('rule_counters'), core.slots.rules),
    events: (listener) => events.listen(listener),
    flows: async () => flows.flows(),
    pressure: () => flows.pressure(),
    maps: () => mapMemory(programs),
    drops: () => readDrops(programs),
    podUse: () => readPodUse({ programs, podOf: podsByLink() }),
    guard: (link) => core.guard(link),
    ...(edge && {
      handOver: async () => beside(edge.handOver?.() ?? [], flows.carried()),
      letGo: async () => {
        // A flow whose translation is gone is known no more; the other way round it would be made again.
        edge.letGo?.();
        flows.forget();
      },
      takeOver: async (connections, next) => edge.takeOver?.(connections, next),
    }),
    standBack(from) {
      standing = from;
      stand(from);
    },
    probe: async (packet) => {
      applied();
      return probe(packet);
    },
    async remove() {
      // Hooks of sockets go last: what they translate needs no other part, and would be translated by it.
      for (const part of parts.toReversed()) part.remove?.();
    },
    ...deps.extras,
    close() {
      events.close();
      for (const part of parts) part.close?.();
      programs.close();
    },
  };
}

/** What is translated on its way out or in is one connection, which the flow cache knows by half. */
function beside(translated: readonly NatConnection[], others: readonly NatConnection[]): NatConnection[] {
  const known = new Set(translated.flatMap(({ original, reply }) => [endsText(original), endsText(reply)]));
  return [
    ...translated,
    ...others.filter(({ original, reply }) => !known.has(endsText(original)) && !known.has(endsText(reply))),
  ];
}
