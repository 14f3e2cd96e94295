/** Connectivity against an enumeration: every pair of ends, every port at which anything could change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Family } from '../../lib/ip.ts';
import {
  type Cidr,
  formatAddress,
  formatCidr,
  parseAddress,
  tryParseCidr,
  firstOf,
  lastOf,
} from '../../lib/ip.ts';
import { createDecider } from '../decide.ts';
import { worlds } from '../testing/arbitraries.ts';
import { portWorlds } from '../testing/cilium-policies.ts';
import { sourcelessWorlds } from '../testing/plain-worlds.ts';
import { withMesh } from '../testing/mesh-arbitraries.ts';
import { canonical, nodeAddresses } from '../scene.ts';
import { type Flow, type FlowEnd, podKey, type World } from '../world.ts';
import { type Connection, connectivity, isWorkload } from './connectivity.ts';
import { createEstate, type Estate, type Workload } from './estate.ts';
import { type PortSet, PROTOCOLS } from './port-set.ts';

/** Every number and text that a policy says, whatever its language. */
function saidIn(value: unknown): (number | string)[] {
  if (typeof value === 'number' || typeof value === 'string') return [value];
  if (isCidr(value)) return [formatCidr(value)];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(saidIn) : [];
}

const isCidr = (value: unknown): value is Cidr =>
  typeof value === 'object' && value !== null && 'value' in value && typeof value.value === 'bigint';

/** What an object says, of a language or of the model itself. */
const wordsOf = (
  object: World['policies'][number] | NonNullable<World['mesh']>[number],
): (number | string)[] =>
  saidIn(object.kind === 'Lowered' ? object.policies : { ...object, metadata: undefined });

/** Ports of Istio and Cilium are texts. */
const asNumber = (said: number | string): number | string =>
  typeof said === 'string' && /^\d+$/.test(said) ? Number(said) : said;

/** Every port where a range begins or ends, its neighbours, and what no policy names. */
function portsOf(world: World): number[] {
  const ports = new Set([1, 2, 1000, 65535]);
  const said = [
    ...[...world.policies, ...(world.mesh ?? [])].flatMap(wordsOf).map(asNumber),
    ...world.pods.flatMap((pod) => saidIn(pod.ports)),
  ];
  for (const port of said)
    if (typeof port === 'number')
      for (const p of [port - 1, port, port + 1]) if (p >= 1 && p <= 65535) ports.add(p);
  return [...ports];
}

/** First and last address of every range that a policy names, and their neighbours, but nobody's own. */
function addressesOf(world: World, family: Family): string[] {
  const owned = new Set(
    [...world.pods.flatMap(({ addresses }) => addresses), ...world.nodes.flatMap(nodeAddresses)].map(
      canonical,
    ),
  );
  const last = family === 4 ? 2n ** 32n - 1n : 2n ** 128n - 1n;
  const values = new Set([0n, last]);
  const texts = [
    ...[...world.policies, ...(world.mesh ?? [])].flatMap(wordsOf).map(String),
    ...(world.names ?? []).flatMap(({ addresses }) =>
      addresses.map((each) => `${each}/${family === 4 ? 32 : 128}`),
    ),
  ];
  for (const text of texts) {
    const cidr = tryParseCidr(text);
    if (cidr?.family !== family) continue;
    const [first, end] = [firstOf(cidr).value, lastOf(cidr).value];
    for (const value of [first - 1n, first, end, end + 1n])
      if (value >= 0n && value <= last) values.add(value);
  }
  return [...values].map((value) => formatAddress({ family, value })).filter((text) => !owned.has(text));
}

const has = (set: PortSet, protocol: number, port: number): boolean =>
  set.ranges[protocol]!.some(([first, last]) => first <= port && port <= last);

function find(
  connections: readonly Connection[],
  src: Workload | bigint,
  dst: Workload | bigint,
): PortSet | undefined {
  const is = (party: Connection['src'], wanted: Workload | bigint): boolean =>
    isWorkload(party)
      ? party === wanted
      : typeof wanted === 'bigint' &&
        parseAddress(party.from).value <= wanted &&
        wanted <= parseAddress(party.to).value;
  const found = connections.filter((each) => is(each.src, src) && is(each.dst, dst));
  assert.ok(found.length <= 1, 'no address is in two ranges of one workload');
  return found[0]?.set;
}

/** Two pods make a workload now and then. */
const estates: fc.Arbitrary<Estate> = fc
  .tuple(fc.oneof(worlds, withMesh(worlds), sourcelessWorlds, portWorlds), fc.boolean())
  .map(([world, grouped]) =>
    createEstate({ ...world, nodeLocal: [] }, (pod) =>
      grouped && Number(pod.name.slice(1)) > 2 ? { kind: 'Deployment', name: 'rest' } : undefined,
    ),
  );

function check(estate: Estate, family: Family): void {
  const { world, workloads } = estate;
  const decide = createDecider(world);
  const connections = [...connectivity(estate, { family })];
  const ports = portsOf(world);
  const compare = (
    set: PortSet | undefined,
    pairs: readonly (readonly [FlowEnd, FlowEnd])[],
    what: string,
  ) => {
    for (const [index, protocol] of PROTOCOLS.entries())
      for (const port of ports) {
        const flow = (src: FlowEnd, dst: FlowEnd): Flow => ({ src, dst, protocol, port, family });
        const expected = pairs.some(([src, dst]) => decide(flow(src, dst)).verdict === 'allow');
        assert.equal(set !== undefined && has(set, index, port), expected, `${what} ${protocol} ${port}`);
      }
  };
  const podEnds = ({ pods }: Workload): FlowEnd[] => pods.map((pod) => ({ pod: podKey(pod) }));
  for (const src of workloads)
    for (const dst of workloads) {
      if (src === dst) continue;
      const pairs = podEnds(src).flatMap((a) => podEnds(dst).map((b) => [a, b] as const));
      compare(find(connections, src, dst), pairs, `${src.name} > ${dst.name}`);
    }
  for (const address of addressesOf(world, family))
    for (const workload of workloads) {
      const { value } = parseAddress(address);
      const ends = podEnds(workload);
      compare(
        find(connections, workload, value),
        ends.map((end) => [end, { address }] as const),
        `${workload.name} > ${address}`,
      );
      compare(
        find(connections, value, workload),
        ends.map((end) => [{ address }, end] as const),
        `${address} > ${workload.name}`,
      );
    }
  for (const { set } of connections)
    assert.ok(
      set.ranges.some((list) => list.length > 0),
      'no empty connection is told',
    );
}

for (const family of [4, 6] as const)
  test(`connectivity over IPv${family} is what deciding every pair at every port gives`, () => {
    fc.assert(
      fc.property(estates, (estate) => check(estate, family)),
      { numRuns: 60 },
    );
  });

test('neighbouring external ranges of a workload never say the same', () => {
  fc.assert(
    fc.property(estates, (estate) => {
      const last = new Map<string, { end: bigint; set: PortSet }>();
      for (const { src, dst, set } of connectivity(estate)) {
        if (isWorkload(src) === isWorkload(dst)) continue;
        const [range, key] = isWorkload(dst)
          ? [isWorkload(src) ? undefined : src, `in ${dst.namespace}/${dst.name}`]
          : [dst, isWorkload(src) ? `out ${src.namespace}/${src.name}` : ''];
        const before = last.get(key);
        const [first, end] = [parseAddress(range!.from).value, parseAddress(range!.to).value];
        if (before) assert.ok(before.end + 1n < first || before.set !== set, `${key} could be one range`);
        last.set(key, { end, set });
      }
    }),
    { numRuns: 100 },
  );
});
