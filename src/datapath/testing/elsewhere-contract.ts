/** What every backend does for a service whose backend is no pod: the API server's own, or slices written by hand. */
import assert from 'node:assert/strict';
import type { NetworkPolicy } from '../../api/types.ts';
import { backendProblems } from '../plan/problems.ts';
import { type Cluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { frontendsOn, TARGETS } from './frontends.ts';
import { type LabPod, OUTSIDE } from './lab.ts';
import { both, dialers, FAMILIES, NODE_PORT, PROTOCOLS, scenarios, wish } from './service-lab.ts';
import { connectedError, keepTcp, serveTcp, serveUdp } from './traffic.ts';

interface Server {
  readonly end: LabPod;
  /** As whom it sees a pod of the first node. */
  readonly seen: readonly string[];
  /** Policy is enforced between it and that pod. */
  readonly judged: boolean;
}

function servers({ lab, pod }: Cluster): readonly Server[] {
  const [one, two] = [lab.nodes[0]!, lab.nodes[1]!];
  const like = (name: string, ns: LabPod['ns'], node: string, [v4 = '', v6 = '']: readonly string[]) => ({
    ...pod('b'),
    name,
    ns,
    node,
    addresses: [v4, v6] as const,
  });
  const { addresses } = pod('a');
  return [
    { end: like('outside', lab.outside, '', OUTSIDE), seen: one.remote.addresses, judged: true },
    { end: like('two', two.ns, two.name, two.remote.addresses), seen: addresses, judged: true },
    { end: like('one', one.ns, one.name, one.remote.addresses), seen: addresses, judged: false },
  ];
}

/** Nobody may speak to pod a, and it to that end alone, by what its service leads to. */
const only = (addresses: readonly string[], ports: Readonly<Record<'TCP' | 'UDP', number>>) =>
  ({
    a: {
      podSelector: { matchLabels: { app: 'a' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [
        {
          to: addresses.map((address) => ({
            ipBlock: { cidr: `${address}/${address.includes(':') ? 128 : 32}` },
          })),
          ports: PROTOCOLS.map((protocol) => ({ protocol, port: ports[protocol] })),
        },
      ],
    },
  }) satisfies Record<string, NetworkPolicy['spec']>;

/** Over two nodes with pods a and b on the first, c and d on the second. */
export function elsewhereContract(name: string, openBackend: OpenBackend): void {
  const it = scenarios(name, openBackend);

  it('a backend that is no pod answers pods, and policy judges it as what it is', async (t, c) => {
    const a = c.pod('a');
    for (const { end, seen, judged } of servers(c)) {
      serveTcp(t, end.ns, TARGETS.TCP, end.name);
      serveUdp(t, end.ns, end.addresses, TARGETS.UDP, end.name);
      await c.setPolicies({});
      await c.setFrontends([
        ...both(wish('ClusterIP', [end])),
        wish('ClusterIP', [end], { protocol: 'UDP', port: 9, target: 9 }),
      ]);
      const dial = () =>
        Promise.all(
          FAMILIES.flatMap((family) =>
            PROTOCOLS.map((protocol) => dialers[protocol](a.ns, serviceAddresses(1)[family], 80)),
          ),
        );
      const answers = FAMILIES.flatMap((family) =>
        PROTOCOLS.map(() => ({ server: end.name, seen: seen[family] })),
      );
      assert.deepEqual(await dial(), answers);
      const kept = [];
      for (const family of FAMILIES) {
        const to = serviceAddresses(1)[family];
        kept.push(await keepTcp(t, a.ns, to, 80));
        assert.equal(await connectedError(t, a.ns, to, 9), 'ECONNREFUSED', `${end.name} is told of`);
      }
      await c.setPolicies(only(end.addresses, TARGETS));
      for (const { echo } of kept) assert.ok(await echo(), `${end.name}: what is established goes on`);
      assert.deepEqual(await dial(), answers, `${end.name}: its own ports are allowed`);
      await c.setPolicies(only(end.addresses, { TCP: 80, UDP: 80 }));
      assert.deepEqual(
        await dial(),
        judged ? answers.map(() => ({ why: 'ETIMEDOUT' })) : answers,
        `${end.name}: the service's are not`,
      );
      for (const { socket } of kept) socket.destroy();
    }
  });

  it('a node port whose backend is the node itself answers pods, other nodes’ pods, nodes and the outside', async (t, c) => {
    const [one, two] = [c.lab.nodes[0]!, c.lab.nodes[1]!];
    const end = servers(c).find((each) => each.end.name === 'two')!.end;
    const silent = wish('NodePort', [end], { protocol: 'UDP', port: 30_009, target: 9 });
    if (backendProblems(frontendsOn(one, [silent]), c.backends[0]!).length > 0) return;
    serveTcp(t, end.ns, TARGETS.TCP, end.name);
    serveUdp(t, end.ns, end.addresses, TARGETS.UDP, end.name);
    await c.setFrontends([...both(wish('NodePort', [end])), silent]);
    for (const family of FAMILIES)
      for (const node of [one, two]) {
        const to = node.remote.addresses[family] ?? '';
        for (const ns of [c.pod('a').ns, c.pod('d').ns, one.ns, two.ns, c.lab.outside])
          for (const protocol of PROTOCOLS) {
            const { server, why } = await dialers[protocol](ns, to, NODE_PORT);
            assert.equal(server, end.name, `${protocol} ${ns.path} to ${to}: ${why}`);
          }
        assert.equal(await connectedError(t, c.pod('a').ns, to, 30_009), 'ECONNREFUSED', `${to} tells of it`);
      }
  });
}
