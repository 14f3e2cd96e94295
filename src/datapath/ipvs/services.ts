/** Services by IPVS: virtual services, the rules around them, local routes and settings of one node. */
import type { Ipvs } from '../../kernel/ipvs.ts';
import type { IpvsKey } from '../../kernel/ipvs-codec.ts';
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import type { Difference } from '../backend.ts';
import { createHeld, type Held } from '../held.ts';
import { type Edit, commandsFor, edits, needsReplacement, replaceTable } from '../nftables/diff.ts';
import { equal, idOf, type KernelObject, type KernelState } from '../nftables/objects.ts';
import { parseTable } from '../nftables/parse.ts';
import { applyChanges, type Change, emptyState, type PlanState, SETTINGS_KEY } from '../plan/tables.ts';
import { compareRoutes, hostRange, type LocalRoutes, ourRoutes, wantedRoutes } from './addresses.ts';
import { createMarks, isOurs } from './marks.ts';
import { BASE, frontendObjects, settingsObjects, TABLE } from './rules.ts';
import { createServers, isNothing, type Servers } from './servers.ts';
import { resetSysctls, sysctlDifferences, type Sysctls } from './sysctls.ts';
import { virtualsOf } from './virtual.ts';

export interface IpvsServicesDeps {
  /** Called when it is needed: asking for IPVS loads the kernel's module. @throws HeddleError `KernelFeature` */
  readonly openIpvs: () => Ipvs;
  /** Opened in the node's namespace; undefined: services alone, nothing refused and nobody masqueraded. */
  readonly nft: { run(commands: string): string; close(): void } | undefined;
  readonly route: LocalRoutes;
  readonly sysctls: Sysctls;
}

export interface IpvsServices {
  /**
   * New destinations are there before rules let anybody to them, and rules keep everybody out before old ones go.
   * @throws HeddleError `Netlink`, `Nft`; some of it may then be there, and `prune` mends
   */
  apply(changes: readonly Change[]): void;
  prune(state: PlanState): Difference[];
  verify(): Difference[];
  /** Lets those go whose last connection has ended; true: there are more. */
  sweep(): boolean;
  /** Frees the kernel of all of it. Connections by way of services end. */
  remove(): void;
  close(): void;
  /** As of the last `prune` and `apply`. */
  readonly plan: PlanState;
}

interface Mirror {
  readonly plan: ReturnType<typeof emptyState>;
  readonly servers: Servers;
  readonly held: Held<KernelObject>;
  change(changes: readonly Change[]): void;
}

export function createIpvsServices(deps: IpvsServicesDeps): IpvsServices {
  const { nft, route, sysctls } = deps;
  let opened: Ipvs | undefined;
  const ipvs = (): Ipvs => (opened ??= deps.openIpvs());
  let mirror: Mirror | undefined;
  let routes: ReadonlyMap<string, string> = new Map();

  function applied(): Mirror {
    if (!mirror) throw new TypeError('the data path is not pruned yet: prune(state) comes before apply');
    return mirror;
  }

  function send(commands: readonly string[]): void {
    if (commands.length > 0) nft?.run(commands.join('\n'));
  }

  const listRules = (): KernelState | undefined => (nft ? listTable(nft) : undefined);

  /** All of the kernel against all of the mirror. */
  function compareAll(current: Mirror) {
    const actual = listRules();
    const ruleEdits = nft ? edits(actual ?? new Map(), current.held.objects()) : [];
    const kernelRoutes = ourRoutes(route);
    const wanted = wantedRoutes(current.plan.settings.get(SETTINGS_KEY), virtualAddresses(current.held));
    const step = current.servers.allSteps(isOwned(current.plan, [...kernelRoutes.keys(), ...wanted.keys()]));
    const routeStep = compareRoutes(route, kernelRoutes, wanted);
    const settings = sysctlDifferences(sysctls);
    return {
      step,
      wanted,
      routeStep,
      settings,
      sendRules: () =>
        send(
          (nft && actual === undefined) || needsReplacement(ruleEdits)
            ? replaceTable(current.held.objects(), actual !== undefined, TABLE)
            : commandsFor(ruleEdits, TABLE),
        ),
      differences: [
        ...settings.differences,
        ...step.differences,
        ...ruleEdits.map(difference),
        ...routeStep.differences,
      ],
    };
  }

  function converge(current: Mirror): Difference[] {
    const { step, wanted, routeStep, settings, sendRules, differences } = compareAll(current);
    settings.mend();
    current.servers.run(step.adds);
    sendRules();
    routeStep.add();
    current.servers.run(step.removes);
    routeStep.remove();
    routes = wanted;
    current.held.edits();
    return differences;
  }

  return {
    get plan() {
      return applied().plan;
    },
    apply(changes) {
      const current = applied();
      current.change(changes);
      const ruleEdits = current.held.edits();
      const step = current.servers.steps();
      const wanted = movesAddresses(changes, ruleEdits)
        ? wantedRoutes(current.plan.settings.get(SETTINGS_KEY), virtualAddresses(current.held))
        : routes;
      const routeStep = compareRoutes(route, routes, wanted);
      try {
        current.servers.run(step.adds);
        send(nft ? commandsFor(ruleEdits, TABLE) : []);
        routeStep.add();
        current.servers.run(step.removes);
        routeStep.remove();
        routes = wanted;
      } catch {
        // Somebody changed the kernel meanwhile: all of it is compared.
        converge(current);
      }
    },
    prune(state) {
      const next = createMirror(ipvs(), state);
      const mended = converge(next);
      mirror = next;
      return mended;
    },
    verify: () => compareAll(applied()).differences,
    sweep() {
      const current = applied();
      const step = current.servers.steps();
      if (!isNothing(step)) current.servers.run([...step.adds, ...step.removes]);
      return current.servers.draining;
    },
    remove() {
      const kernelRoutes = ourRoutes(route);
      const hasRules = listRules() !== undefined;
      if (!mirror && kernelRoutes.size === 0 && !hasRules) return;
      // Also without a plan: node ports are at addresses that the node has.
      const owned = isOwned(emptyState(), [
        ...kernelRoutes.keys(),
        ...route.addresses().map(({ address }) => hostRange(address.slice(0, address.indexOf('/')))),
      ]);
      const gone = ipvs()
        .services()
        .filter(({ key }) => owned(key));
      if (gone.length > 0) ipvs().run(gone.map((service) => ({ do: 'delete', service })));
      compareRoutes(route, kernelRoutes, new Map()).remove();
      if (hasRules) nft?.run(`delete table ${TABLE}`);
      resetSysctls(sysctls);
      mirror = undefined;
    },
    close: () => opened?.close(),
  };
}

function createMirror(ipvs: Ipvs, state: PlanState): Mirror {
  const plan = emptyState();
  const held = createHeld<KernelObject>({ idOf, equal });
  const servers = createServers(ipvs);
  const marks = createMarks();

  function place(key: string): void {
    const frontend = plan.services.get(key);
    const mark = frontend?.externalBackends ? marks.of(key) : 0;
    if (mark === 0) marks.release(key);
    servers.replace(key, frontend ? virtualsOf(frontend, mark) : []);
    held.replace(key, frontend ? frontendObjects(frontend, mark) : []);
  }

  function change(changes: readonly Change[]): void {
    applyChanges(plan, changes);
    for (const { table, key } of changes) {
      if (table === 'services') place(key);
      if (table === 'settings') held.replace('settings', settingsObjects(plan.settings.get(SETTINGS_KEY)));
    }
  }

  held.replace('base', BASE);
  held.replace('settings', settingsObjects(undefined));
  // By name, so that marks that would meet are told apart in the same way at each start.
  change([
    ...[...state.settings].map(([key, value]) => ({ table: 'settings' as const, key, value })),
    ...[...state.services]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => ({ table: 'services' as const, key, value })),
  ]);
  return { plan, held, servers, change };
}

const VIRTUAL = /^virtual[46]$/;

const movesAddresses = (changes: readonly Change[], list: readonly Edit[]): boolean =>
  changes.some(({ table }) => table === 'settings') ||
  list.some(({ before, after }) => {
    const object = before ?? after;
    return object?.type === 'element' && VIRTUAL.test(object.set);
  });

function* virtualAddresses(held: Held<KernelObject>): Iterable<string> {
  for (const object of held.objects().values())
    if (object.type === 'element' && VIRTUAL.test(object.set)) yield object.key;
}

/** Others may use IPVS in this namespace too: ours is what has our marks, or an address that is the node's by us. */
function isOwned(plan: PlanState, ranges: readonly string[]): (key: IpvsKey) => boolean {
  const cidrs = ranges.map(parseCidr);
  const nodeAddresses = plan.settings.get(SETTINGS_KEY)?.nodeAddresses ?? [];
  return (key) => {
    if ('fwmark' in key) return isOurs(key.fwmark);
    const address = parseAddress(key.address);
    return nodeAddresses.includes(key.address) || cidrs.some((cidr) => contains(cidr, address));
  };
}

function listTable(nft: { run(commands: string): string }): KernelState | undefined {
  const exists = nft
    .run('list tables inet')
    .split('\n')
    .some((line) => line.trim() === `table ${TABLE}`);
  return exists ? parseTable(nft.run(`list table ${TABLE}`)) : undefined;
}

function difference({ before, after }: Edit): Difference {
  const object = before ?? after;
  const kind = before === undefined ? 'missing' : after === undefined ? 'foreign' : 'changed';
  if (object?.type === 'element')
    return { kind, what: `element ${object.set} ${object.key} ${object.value}`.trim() };
  return { kind, what: object ? `${object.type} ${object.name}` : '' };
}
