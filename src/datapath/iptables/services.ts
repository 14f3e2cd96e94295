/** Services as the chains of iptables that users of kube-proxy know. Policy and routes are other parts' (compose.ts). */
import { errnoCode } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { ServiceCapabilities } from '../backend.ts';
import type { Difference } from '../backend.ts';
import type { Part } from '../compose.ts';
import { type DeleteFlows, isStale, type ListFlows, translatedFlows, unsettled } from '../tracked-flows.ts';
import { type AddFlows, trackedHandover } from '../tracked-handover.ts';
import { type Edit, edits, restoreInput } from './diff.ts';
import { createMirror, type Mirror } from './mirror.ts';
import { type Family, objectText, type TableName, type TableObject, type TableState } from './objects.ts';
import { parseSave } from './parse.ts';
import type { Programs } from './programs.ts';

/** In the node's namespace. */
export interface Sysctls {
  read(key: string): string;
  write(key: string, value: string): void;
}

export interface IptablesDeps {
  readonly programs: Programs;
  /** Ends what conntrack remembers of datagrams to backends that are gone; without it they stay until they time out. */
  readonly deleteFlows?: DeleteFlows;
  readonly listFlows?: ListFlows;
  /** Without it connections that another backend translates end with that one. */
  readonly addFlows?: AddFlows;
  /** Of the node's namespace. */
  readonly sysctls: Sysctls;
  readonly log: Log;
}

const services: ServiceCapabilities = {
  kinds: ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'],
  algorithms: ['random', 'round-robin'],
  forwarding: ['snat'],
  protocols: ['TCP', 'UDP', 'SCTP'],
  weights: true,
  sourceRanges: true,
  trafficPolicies: true,
  loopbackNodePorts: [4],
};

const FAMILIES: readonly Family[] = [4, 6];
const NOTHING: TableState = new Map();

interface Kernel {
  readonly state: TableState;
  readonly doubles: readonly TableObject[];
}

export function createIptablesServices(deps: IptablesDeps): Part {
  const { programs, log } = deps;
  let mirror: Mirror | undefined;
  let counts = new Map<TableName, number>();

  function applied(): Mirror {
    if (!mirror) throw new TypeError('the data path is not pruned yet: prune(state) comes before apply');
    return mirror;
  }

  async function read(tails: Mirror['tails']): Promise<Kernel> {
    const listings = [];
    for (const family of FAMILIES)
      listings.push(parseSave(await programs.save(family), family, tails(family)));
    counts = new Map();
    for (const listing of listings)
      for (const [table, count] of listing.counts) counts.set(table, (counts.get(table) ?? 0) + count);
    return {
      state: new Map(listings.flatMap(({ objects }) => [...objects])),
      doubles: listings.flatMap(({ doubles }) => doubles),
    };
  }

  async function send(list: readonly Edit[], wanted: TableState): Promise<void> {
    for (const [family, input] of restoreInput(list, wanted)) await programs.restore(family, input);
  }

  const unlike = ({ state, doubles }: Kernel, wanted: TableState): Edit[] => [
    ...edits(state, wanted),
    ...doubles.map((before) => ({ before, after: undefined })),
  ];

  async function converge(wanted: Mirror): Promise<Difference[]> {
    const objects = wanted.objects();
    const list = unlike(await read(wanted.tails), objects);
    await send(list, objects);
    return list.map(difference);
  }

  /** What was written must be what is listed, or every prune would write it again. */
  async function prove(wanted: Mirror): Promise<void> {
    const left = unlike(await read(wanted.tails), wanted.objects());
    if (left.length > 0)
      log.warn(
        'iptables lists some of what was written in other words: it will be written again at each start',
        {
          count: left.length,
          first: left.slice(0, 3).map((edit) => difference(edit).what),
        },
      );
  }

  return {
    name: 'iptables',
    capabilities: { sessionAffinity: true, services },
    async apply(changes) {
      const current = applied();
      const flows = unsettled(changes, current.plan);
      const list = current.update(changes);
      if (list.length === 0) return;
      try {
        await send(list, current.objects());
      } catch (error) {
        if (errnoCode(error) !== 'Iptables') throw error;
        log.warn('the iptables chains are not as they were left; comparing all of them', {
          error: String(error),
        });
        await converge(current);
      }
      if (flows.size > 0) deps.deleteFlows?.(isStale(current.plan, flows));
    },
    async prune(state) {
      const next = createMirror(state);
      const mended = await converge(next);
      if (mended.length > 0) await prove(next);
      // Once KUBE-FIREWALL is there: it keeps others from the loopback addresses.
      const closed = loopbackDifferences(deps.sysctls);
      if (closed.length > 0) deps.sysctls.write(ROUTE_LOCALNET, '1');
      mended.push(...closed);
      mirror = next;
      deps.deleteFlows?.(isStale(next.plan));
      return mended;
    },
    async verify() {
      const current = applied();
      const chains = unlike(await read(current.tails), current.objects()).map(difference);
      return [...chains, ...loopbackDifferences(deps.sysctls)];
    },
    async translated() {
      return translatedFlows(applied().plan, deps.listFlows?.() ?? []);
    },
    ...trackedHandover(deps),
    ruleCount: () => counts,
    async remove() {
      mirror = undefined;
      deps.sysctls.write(ROUTE_LOCALNET, '0');
      try {
        await send(unlike(await read(() => new Map()), NOTHING), NOTHING);
      } catch (error) {
        // Without its programs there is nothing of it.
        if (errnoCode(error) !== 'IptablesMissing') throw error;
      }
    },
    close() {},
  };
}

/** What is sent from a loopback address may leave the node, in another's place, and its answers may come in. */
const ROUTE_LOCALNET = 'net.ipv4.conf.all.route_localnet';

const loopbackDifferences = (sysctls: Sysctls): Difference[] =>
  sysctls.read(ROUTE_LOCALNET) === '1' ? [] : [{ kind: 'changed', what: `sysctl ${ROUTE_LOCALNET} = 1` }];

function difference({ before, after }: Edit): Difference {
  const object = before ?? after;
  const kind = before === undefined ? 'missing' : after === undefined ? 'foreign' : 'changed';
  return { kind, what: object ? objectText(object) : '' };
}
