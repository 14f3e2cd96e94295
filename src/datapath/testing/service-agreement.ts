/**
 * Holds a backend to plans of services: draws of frontends, put into the kernel of two nodes by differences from the
 * draw before, and real connections from pods, nodes and the outside. Exactly the planned backends must answer, see
 * who they should see, and nobody else must be reached.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import type { Netns } from '../../kernel/netns.ts';
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import { backendProblems } from '../plan/problems.ts';
import type { BackendAddress, ServiceFrontend } from '../plan/tables.ts';
import { type Cluster, createCluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { type FrontendWish, frontendsOn, publicAddresses } from './frontends.ts';
import { GATEWAYS, type LabNode, OUTSIDE } from './lab.ts';
import { announce, PODS, serveAll } from './service-lab.ts';
import { type Answer, dialTcp, dialUdp } from './traffic.ts';

const FRONTENDS = 4;
/** The lightest of four, one in six, is missed once in 80 million. */
const TRIES = 100;

/** Never one that tracking may still know: an old flow goes where it went. */
let serial = 0;
const freshPort = (): number => 10_000 + (serial++ % 50_000);

interface Client {
  readonly name: string;
  readonly ns: Netns;
  /** IPv4, IPv6. */
  readonly addresses: readonly string[];
  /** Whose tables translate what it sends; of the outside the node that it comes through. */
  readonly node: LabNode;
  readonly outside: boolean;
}

/** What a client should meet at a frontend. */
interface Expected {
  /** Who may answer → whom he sees; undefined: any address. Empty: nobody answers. */
  readonly servers: ReadonlyMap<string, string | undefined>;
  /** Of nobody. */
  readonly why: string;
}

export async function checkServiceAgreement(
  t: TestContext,
  openBackend: OpenBackend,
  numRuns: number,
): Promise<void> {
  const cluster = await createCluster(t, openBackend, PODS);
  serveAll(t, cluster);
  const clients = clientsOf(cluster);
  for (let i = 0; i < FRONTENDS; i++) announce(t, cluster, publicAddresses(i + 1), i % 2);
  await fc.assert(
    fc.asyncProperty(draws, async (draw) => {
      const wishes = draw.map((each, i) => wishOf(cluster, each, i)).filter((wish) => can(cluster, wish));
      await cluster.setFrontends(wishes);
      for (const [i, wish] of wishes.entries())
        for (const client of clients) {
          if (client.outside && wish.kind === 'ClusterIP') continue;
          // Public addresses lead through one node.
          const through = (wish.port - FIRST_PORT) % 2;
          if (client.outside && wish.kind !== 'NodePort' && client.node !== cluster.lab.nodes[through])
            continue;
          const frontends = frontendsOn(client.node, [wish]);
          const frontend = frontends[(i + draw.length) % frontends.length];
          if (frontend) await probe(cluster, client, frontend);
        }
      for (const backend of cluster.backends) assert.deepEqual(await backend.verify(), []);
    }),
    { numRuns, endOnFailure: true },
  );
}

function clientsOf({ lab, pod }: Cluster): Client[] {
  const [one, two] = [lab.nodes[0]!, lab.nodes[1]!];
  const outside = (node: LabNode, addresses: readonly string[]) => ({
    name: `${addresses[0]} by ${node.name}`,
    ns: lab.outside,
    addresses,
    node,
    outside: true,
  });
  return [
    { name: 'a', ns: pod('a').ns, addresses: pod('a').addresses, node: one, outside: false },
    { name: 'd', ns: pod('d').ns, addresses: pod('d').addresses, node: two, outside: false },
    { name: 'node-1', ns: one.ns, addresses: one.remote.addresses, node: one, outside: false },
    outside(one, OUTSIDE),
    outside(two, OUTSIDE),
    outside(one, GATEWAYS),
  ];
}

const FIRST_PORT = 30_000;

const drawn = fc.record({
  kind: fc.constantFrom('ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'),
  protocol: fc.constantFrom('TCP', 'UDP'),
  pods: fc.subarray(['a', 'b', 'c', 'd']),
  local: fc.boolean(),
  whenEmpty: fc.option(fc.constantFrom('refuse', 'drop'), { nil: undefined }),
  algorithm: fc.constantFrom('random', 'random', 'round-robin', 'least-connection', 'maglev', 'source-hash'),
  affinitySeconds: fc.option(fc.constantFrom(100, 3661), { nil: undefined, freq: 3 }),
  ranged: fc.boolean(),
  weights: fc.option(fc.record({ a: fc.constantFrom(0, 1, 2), c: fc.constantFrom(1, 2) }), {
    nil: undefined,
    freq: 3,
  }),
});

type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;

const draws = fc.array(drawn, { minLength: 1, maxLength: FRONTENDS });

function wishOf({ pod }: Cluster, draw: Drawn, index: number): FrontendWish {
  const { kind, ranged, weights, pods, whenEmpty, affinitySeconds, ...rest } = draw;
  const weighed = weights && pods.some((name) => name !== 'a') ? weights : undefined;
  return {
    ...rest,
    kind,
    port: FIRST_PORT + index,
    ...(kind === 'NodePort'
      ? {}
      : { addresses: kind === 'ClusterIP' ? serviceAddresses(index + 1) : publicAddresses(index + 1) }),
    pods: pods.map(pod),
    ...(whenEmpty === undefined ? {} : { whenEmpty }),
    ...(affinitySeconds === undefined ? {} : { affinitySeconds }),
    ...(ranged && kind === 'LoadBalancer' ? { sourceRanges: ['192.0.2.0/24', '2001:db8::/64'] } : {}),
    ...(weighed === undefined ? {} : { weights: weighed }),
  };
}

const can = ({ lab, backends }: Cluster, wish: FrontendWish): boolean =>
  backendProblems(frontendsOn(lab.nodes[0]!, [wish]), backends[0]!).length === 0;

async function probe(cluster: Cluster, client: Client, frontend: ServiceFrontend): Promise<void> {
  const family = frontend.address.includes(':') ? 1 : 0;
  const want = expected(cluster, client, frontend, family);
  const dial = frontend.protocol === 'TCP' ? dialTcp : dialUdp;
  const source = client.outside ? { localAddress: client.addresses[family] ?? '' } : {};
  const port = () => (frontend.protocol === 'UDP' ? { localPort: freshPort() } : {});
  const text = () => `${client.name} → ${JSON.stringify(frontend)}`;
  const one = (): Promise<Answer> =>
    dial(client.ns, frontend.address, frontend.port, { ...source, ...port() });
  if (want.servers.size === 0) {
    const answer = await one();
    assert.equal(answer.server, undefined, text());
    // A node's own datagrams are refused by the socket itself, each kernel's way.
    if (frontend.protocol === 'TCP') assert.equal(answer.why, want.why, text());
    return;
  }
  const sticky =
    frontend.affinitySeconds !== undefined ||
    frontend.algorithm === 'source-hash' ||
    // Of those that have no connection the heaviest is first, and it has given back the last one.
    (frontend.algorithm === 'least-connection' && isUneven(frontend));
  const seen = new Set<string>();
  for (let i = 0; i < TRIES && seen.size < (sticky ? 1 : want.servers.size); i++) {
    const { server = '', seen: by, why } = await one();
    assert.ok(want.servers.has(server), `${server} ${why} answered ${text()}`);
    const who = want.servers.get(server);
    if (who !== undefined) assert.equal(by, who, `${server} saw ${by}: ${text()}`);
    seen.add(server);
  }
  if (!sticky) assert.deepEqual([...seen].sort(), [...want.servers.keys()].sort(), text());
}

const isUneven = ({ backends, externalBackends = [] }: ServiceFrontend): boolean =>
  new Set([...backends, ...externalBackends].map(({ weight = 1 }) => weight)).size > 1;

function expected(cluster: Cluster, client: Client, frontend: ServiceFrontend, family: 0 | 1): Expected {
  const { whenEmpty, sourceRanges, backends, externalBackends } = frontend;
  const own = client.addresses[family] ?? '';
  const dropped = { servers: new Map<string, string>(), why: 'ETIMEDOUT' };
  if (client.outside && sourceRanges && !sourceRanges.some((range) => holds(range, own))) return dropped;
  const list = (client.outside ? externalBackends : undefined) ?? backends;
  const open = list.filter(({ weight }) => weight !== 0);
  if (open.length === 0)
    return { servers: new Map(), why: whenEmpty === 'drop' ? 'ETIMEDOUT' : 'ECONNREFUSED' };
  const seenBy = ({ address, local }: BackendAddress): string | undefined => {
    // A pod that reaches itself sees itself or its node.
    if (address === own) return undefined;
    return !client.outside || local ? own : client.node.remote.addresses[family];
  };
  return {
    servers: new Map(
      open.map((backend) => {
        const pod = cluster.lab.pods.find(({ addresses }) => addresses[family] === backend.address);
        return [pod?.name ?? '', seenBy(backend)];
      }),
    ),
    why: '',
  };
}

const holds = (range: string, address: string): boolean => {
  const [cidr, parsed] = [parseCidr(range), parseAddress(address)];
  return cidr.family === parsed.family && contains(cidr, parsed);
};
