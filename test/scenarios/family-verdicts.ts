/** Names, verdicts and what a pod sees of itself: the second half of the suite of families. */
import assert from 'node:assert/strict';
import type { Report } from '../../src/demo/report.ts';
import {
  addressesOf,
  ask,
  DNS,
  type Family,
  holds,
  isSix,
  listed,
  lookUp,
  type Names,
  NODES,
  of,
  type Pod,
  type Things,
} from './family-cluster.ts';

const GUARDED_HOST_PORT = 18_081;
const ZONE = 'default.svc.cluster.local.';
const both = [4, 6] as const;
const typeOf = (family: Family): string => (family === 4 ? 'A' : 'AAAA');
/** A name that exists has no error, be there records of the type or not (RFC 2308 section 2.2). */
const there = (records: readonly string[]): Names => ({ status: 'NOERROR', records: records.toSorted() });
const nothing: Names = { status: 'NXDOMAIN', records: [] };
const dashed = (address: string): string => `${address.replaceAll(/[.:]/g, '-')}.headless.${ZONE}`;

/** Question by question, what must be answered. */
function wantedNames({ families, servers, service }: Things): Map<string, Names> {
  const endpoints = servers.flatMap(addressesOf);
  const withAddresses = ['server', 'ported', 'balanced', ...families.map((family) => `only-${family}`)];
  const wanted = new Map<string, Names>();
  for (const family of both) {
    for (const name of withAddresses)
      wanted.set(`${name}.${ZONE} ${typeOf(family)}`, there(of(family, service(name).spec.clusterIPs)));
    wanted.set(`headless.${ZONE} ${typeOf(family)}`, there(of(family, endpoints)));
    for (const endpoint of endpoints)
      wanted.set(`${dashed(endpoint)} ${typeOf(family)}`, there(of(family, [endpoint])));
    wanted.set(`nobody.${ZONE} ${typeOf(family)}`, nothing);
  }
  for (const name of withAddresses) {
    wanted.set(`_http._tcp.${name}.${ZONE} SRV`, there([`0 100 80 ${name}.${ZONE}`]));
    for (const address of service(name).spec.clusterIPs) wanted.set(address, there([`${name}.${ZONE}`]));
  }
  wanted.set(
    `_http._tcp.headless.${ZONE} SRV`,
    there(endpoints.map((address) => `0 100 8080 ${dashed(address)}`)),
  );
  for (const endpoint of endpoints) wanted.set(endpoint, there([dashed(endpoint)]));
  for (const family of families) wanted.set(family === 4 ? '10.96.0.0' : 'fd00:10:96::', nothing);
  return wanted;
}

export async function checkNames(things: Things): Promise<void> {
  const { cluster, families } = things;
  const wanted = wantedNames(things);
  for (const server of [undefined, ...families.map((family) => DNS[family])]) {
    const answers = await lookUp(cluster, 'friend', [...wanted.keys()], server);
    assert.deepEqual(
      [...wanted.keys()].map((question, i) => [question, answers[i]]),
      [...wanted],
      `asked of ${server ?? 'the servers in resolv.conf'}`,
    );
  }
}

export async function checkGuard({ cluster, families, pod, service }: Things): Promise<void> {
  const targets = [
    ...addressesOf(pod('guarded')).map((host) => [host, 8080] as const),
    ...service('guarded').spec.clusterIPs.map((host) => [host, 80] as const),
  ];
  const ported = families.map((family) => [NODES[family][0], GUARDED_HOST_PORT] as const);
  const friend = await ask(cluster, 'friend', targets);
  for (const [host, port] of targets) {
    const [own] = of(isSix(host) ? 6 : 4, addressesOf(pod('friend')));
    assert.deepEqual(friend(host, port), { pod: 'guarded', node: 'node-1', peer: own }, host);
  }
  const node = await ask(cluster, 'node-2', ported);
  for (const family of families)
    assert.equal(node(NODES[family][0], GUARDED_HOST_PORT)?.peer, NODES[family][1]);
  const refused = [
    ['stranger', targets],
    ['outside', ported],
  ] as const;
  await Promise.all(
    refused.map(async ([from, hosts]) => {
      const answer = await ask(cluster, from, hosts, 2);
      assert.deepEqual(
        hosts.filter(([host, port]) => answer(host, port)),
        [],
        `from ${from}`,
      );
    }),
  );
}

/** Each pair of workloads, by name and by address, and what policies say of the outside: by each family. */
export async function checkVerdicts({ cluster, families }: Things): Promise<void> {
  const { attempts, mismatches, allowed, denied } = JSON.parse(
    await cluster.must('demo', '--once', '-o', 'json'),
  ) as Report;
  assert.deepEqual(
    attempts.filter(({ problems }) => problems.length > 0),
    [],
  );
  assert.equal(mismatches, 0);
  assert.ok(allowed > 50 && denied > 50, `${allowed} allowed, ${denied} denied`);
  const verdicts = new Map(families.map((family) => [family, new Set<string>()]));
  for (const { from, to, host, port, protocol, family, observed } of attempts) {
    const own = verdicts.get(family) ?? assert.fail(`an attempt by IPv${family}`);
    // Which of a workload's own pods its service leads to is chance, and to itself none is denied.
    if (from === to) continue;
    // Of the outside, policies name ranges, and those are of one family.
    if (to === 'outside') continue;
    const way = /[a-z]\.svc\./.test(host) ? host.replace(/^only-\d/, 'only-one') : 'its address';
    own.add(`${from} to ${to} by ${way} ${port}/${protocol}: ${observed}`);
  }
  const [first, ...others] = [...verdicts.values()].map((set) => [...set].toSorted());
  assert.ok(first && first.length > 100);
  for (const other of others) assert.deepEqual(other, first);
}

export async function checkInside({ cluster, families, pod }: Things): Promise<void> {
  const files = await cluster.must('exec', 'friend', '--', 'cat', '/etc/hosts', '/etc/resolv.conf');
  const lines = files.split('\n').map((line) => line.split(/\s+/));
  assert.deepEqual(
    lines.filter(([, name]) => name === 'friend').map(([address]) => address),
    addressesOf(pod('friend')),
  );
  assert.deepEqual(
    lines.filter(([word]) => word === 'nameserver').map(([, address]) => address),
    families.map((family) => DNS[family]),
  );
  assert.match(await cluster.must('logs', 'friend'), /stand-in for default\/friend starts on node-1/);
  // By gRPC until they have started, by TCP for as long as they live, by HTTP to be Ready.
  const servers = await listed<Pod>(cluster, 'pods', '-l', 'app=server');
  for (const { metadata, status } of servers)
    assert.deepEqual(
      status.containerStatuses.map(({ ready, restartCount }) => [ready, restartCount]),
      [[true, 0]],
      metadata.name,
    );
}

export async function checkHealth({ cluster }: Things): Promise<void> {
  const { state, nodes, processes } = await cluster.status();
  assert.equal(state, 'running');
  assert.deepEqual(
    (nodes as { name: string; ready: boolean }[]).map(({ name, ready }) => [name, ready]),
    [
      ['node-1', true],
      ['node-2', true],
    ],
  );
  for (const { name, restarts } of processes) assert.equal(restarts, 0, name);
  await holds(async () => {
    const { stdout } = await cluster.heddle('doctor', '-o', 'json');
    const { findings } = JSON.parse(stdout) as { findings: { node: string | null }[] };
    // Of other clusters of the machine nothing is said here.
    assert.deepEqual(
      findings.filter(({ node }) => node !== null),
      [],
    );
  });
}
