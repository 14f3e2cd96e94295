/** What an agent tells `heddle doctor` of its node, and what it mends when asked to. */
import { findOrphans, type OrphanDeps } from '../cni/orphans.ts';
import { findStrays, type PodTraces } from '../cni/strays.ts';
import type { DatapathController } from '../controllers/node/datapath.ts';
import type { PodUseWatch } from '../controllers/node/pod-use.ts';
import type { Backend, Difference, TrackedFlow } from '../datapath/backend.ts';
import { trackedFlow } from '../datapath/conntrack-flows.ts';
import type { PathWatch } from '../datapath/path/watch.ts';
import type { Fixed, NodeFacts, TableFill, User } from '../doctor/facts.ts';
import { heaviest } from '../doctor/judge.ts';
import { sumByPool } from '../ipam/blocks.ts';
import type { Ipam } from '../ipam/ipam.ts';
import { openConntrack } from '../kernel/conntrack.ts';
import type { Route } from '../kernel/route.ts';
import { readSysctl } from '../kernel/sysctl.ts';
import { json, type Routes } from '../lib/socket-server.ts';

export interface DoctorDeps {
  readonly datapath: Pick<DatapathController, 'verify' | 'mend' | 'view'>;
  readonly backend: Backend;
  readonly podUse: Pick<PodUseWatch, 'over'>;
  readonly paths: Pick<PathWatch, 'blackHoles'>;
  readonly ipam: Ipam;
  readonly route: Route;
  readonly traces: PodTraces;
  /** Container ids of attachments that are wanted, or on their way. */
  attachments(): Promise<ReadonlySet<string>>;
}

export function doctorRoutes(deps: DoctorDeps): Routes {
  return {
    'GET /doctor': json(() => nodeFacts(deps)),
    'POST /doctor/fix': json(() => fix(deps)),
  };
}

const orphansOf = async ({ route, ipam, attachments }: DoctorDeps) =>
  findOrphans({ node: route, ipam, known: await attachments() } satisfies OrphanDeps);

const straysOf = async ({ route, ipam, traces, attachments }: DoctorDeps) =>
  findStrays({ node: route, ipam, ...traces }, await attachments());

async function nodeFacts(deps: DoctorDeps): Promise<NodeFacts> {
  const { datapath, backend, podUse, ipam } = deps;
  const maps = backend.maps?.() ?? [];
  return {
    differences: await datapath.verify(),
    orphans: (await orphansOf(deps)).map(({ what }) => what),
    strays: (await straysOf(deps)).map(({ what }) => what),
    tables: [...(await connectionTables(deps)), ...neighbourTables(deps.route)],
    beyondShare: podUse.over(),
    addresses: sumByPool(ipam.usage()).map(({ cidrs, taken, size }) => ({
      cidr: cidrs.join(','),
      taken,
      size,
      users: namespacesOf(ipam),
    })),
    blackHoles: deps.paths.blackHoles(),
    tableBytes: maps.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

const namespacesOf = (ipam: Ipam): User[] =>
  heaviest(ipam.list().map(({ label }) => label.slice(0, label.indexOf('/'))));

/** The tables of the data path, and the kernel's own of this namespace. */
async function connectionTables({ backend, datapath }: DoctorDeps): Promise<TableFill[]> {
  const podOf = new Map(
    datapath.view().pods.flatMap(({ pod, addresses }) => addresses.map((address) => [address, pod])),
  );
  const fill = (name: string, flows: readonly TrackedFlow[], max: number | undefined): TableFill => ({
    name,
    entries: flows.length,
    max: max ?? 0,
    users: heaviest(flows.flatMap(({ src }) => podOf.get(src) ?? [])),
  });
  const conntrack = openConntrack();
  try {
    const tracked = fill(
      'conntrack',
      conntrack.list().map(trackedFlow),
      setting('net.netfilter.nf_conntrack_max'),
    );
    const flows = await backend.flows?.();
    if (!flows) return [tracked];
    // Of those that are over, the tables hold as many as they have room for.
    const room = new Map((backend.pressure?.() ?? []).map(({ name, max }) => [name, max]));
    return [
      tracked,
      fill(
        'flows4',
        flows.filter(({ src }) => !src.includes(':')),
        room.get('flows4'),
      ),
      fill(
        'flows6',
        flows.filter(({ src }) => src.includes(':')),
        room.get('flows6'),
      ),
    ];
  } finally {
    conntrack.close();
  }
}

/** The limit is one for all namespaces of the machine; permanent entries do not count against it. */
function neighbourTables(route: Route): TableFill[] {
  const learned = route.neighbours().filter(({ permanent }) => !permanent);
  return ([4, 6] as const).map((family) => ({
    name: `neighbours of IPv${family}`,
    entries: learned.filter(({ address }) => address.includes(':') === (family === 6)).length,
    max: setting(`net.ipv${family}.neigh.default.gc_thresh3`) ?? 0,
    users: [],
  }));
}

/** Undefined: this kernel, or this namespace, does not have it. */
function setting(key: string): number | undefined {
  try {
    return Number(readSysctl(undefined, key));
  } catch {
    return undefined;
  }
}

async function fix(deps: DoctorDeps): Promise<Fixed> {
  const mended = await deps.datapath.mend();
  const removed: string[] = [];
  for (const { what, remove } of await orphansOf(deps)) if (await remove()) removed.push(what);
  const put: Difference[] = [];
  for (const { what, isBooking, remove } of await straysOf(deps))
    if (await remove()) put.push({ kind: isBooking ? 'missing' : 'changed', what });
  return { mended: [...mended, ...put], removed };
}
