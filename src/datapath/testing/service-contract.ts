/** What every backend does for services beyond cluster addresses; what it cannot do, it says by name. */
import assert from 'node:assert/strict';
import type { BalanceAlgorithm, FrontendKind } from '../plan/tables.ts';
import { type OpenBackend, serviceAddresses } from './cluster.ts';
import { publicAddresses, TARGETS } from './frontends.ts';
import { GATEWAYS, OUTSIDE } from './lab.ts';
import {
  announce,
  both,
  dialers,
  distinct,
  FAMILIES,
  NODE_PORT,
  offers,
  PROTOCOLS,
  scenarios,
  wish,
} from './service-lab.ts';
import { connectedError, dialTcp, dialUdp, keepTcp, serveTcp, serveUdp } from './traffic.ts';

/** Over two nodes with pods a and b on the first, c and d on the second. */
export function serviceContract(name: string, openBackend: OpenBackend): void {
  const it = scenarios(name, openBackend);

  it('what it cannot do for a service it says by name', async (_t, cluster) => {
    const can = cluster.backends[0]?.capabilities.services;
    const pods = [cluster.pod('a')];
    const kinds: FrontendKind[] = ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'];
    for (const kind of kinds)
      assert.equal(offers(cluster, wish(kind, pods)), (can?.kinds ?? ['ClusterIP']).includes(kind), kind);
    const algorithms: BalanceAlgorithm[] = [
      'random',
      'round-robin',
      'least-connection',
      'maglev',
      'ring-hash',
      'source-hash',
    ];
    for (const algorithm of algorithms)
      assert.equal(
        offers(cluster, wish('ClusterIP', pods, { algorithm })),
        (can?.algorithms ?? ['random']).includes(algorithm),
        algorithm,
      );
    // Whatever it says it cannot, it takes, and does the nearest it can.
    for (const algorithm of algorithms) {
      await cluster.setFrontends([wish('ClusterIP', pods, { algorithm, forwarding: 'dsr' })]);
      assert.equal((await dialTcp(cluster.pod('b').ns, serviceAddresses(1)[0], 80)).server, 'a', algorithm);
    }
  });

  it('a node port leads clients outside to every backend, and those of its node see who asks', async (_t, c) => {
    const ends = wish('NodePort', [c.pod('b'), c.pod('c')]);
    if (!offers(c, ends)) return;
    await c.setFrontends(both(ends));
    for (const [index, node] of c.lab.nodes.entries())
      for (const family of FAMILIES)
        for (const protocol of PROTOCOLS) {
          const to = node.remote.addresses[family] ?? '';
          const servers = await distinct(2, 60, async () => {
            const answer = await dialers[protocol](c.lab.outside, to, NODE_PORT, {
              localAddress: OUTSIDE[family],
            });
            const isLocal = answer.server === ['b', 'c'][index];
            assert.equal(
              answer.seen,
              isLocal ? OUTSIDE[family] : to,
              `${protocol} ${JSON.stringify(answer)}`,
            );
            return answer;
          });
          assert.deepEqual(servers, ['b', 'c']);
        }
  });

  it('a node port serves pods, other nodes’ pods and the node itself', async (_t, c) => {
    const ends = wish('NodePort', [c.pod('c')]);
    if (!offers(c, ends)) return;
    await c.setFrontends(both(ends));
    const [one, two] = [c.lab.nodes[0]!, c.lab.nodes[1]!];
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS)
        for (const node of [one, two])
          for (const ns of [c.pod('a').ns, c.pod('d').ns, c.pod('c').ns, one.ns, two.ns]) {
            const answer = await dialers[protocol](ns, node.remote.addresses[family] ?? '', NODE_PORT);
            assert.equal(answer.server, 'c', `${protocol} ${family} ${ns.path} ${JSON.stringify(answer)}`);
          }
  });

  it('a node port is served at the loopback of its node where the backend says so, to the node alone', async (t, c) => {
    const ends = wish('NodePort', [c.pod('b'), c.pod('c')]);
    if (!offers(c, ends)) return;
    await c.setFrontends([...both(ends), wish('ClusterIP', [c.pod('b')])]);
    // Its own node reaches a pod always, whatever the client's address was.
    await c.setPolicies({ b: { podSelector: { matchLabels: { app: 'b' } }, policyTypes: ['Ingress'] } });
    const can = c.backends[0]?.capabilities.services?.loopbackNodePorts ?? [];
    const node = c.lab.nodes[0]!.ns;
    for (const [family, addresses] of [
      [4, ['127.0.0.1', '127.11.12.13']],
      [6, ['::1']],
    ] as const)
      for (const to of addresses) {
        for (const protocol of PROTOCOLS) {
          const dial = () => dialers[protocol](node, to, NODE_PORT);
          if (can.includes(family))
            assert.deepEqual(await distinct(2, 60, dial), ['b', 'c'], `${protocol} ${to}`);
          else assert.equal((await dial()).server, undefined, `${protocol} ${to}`);
          // Whose loopback is another.
          assert.equal((await dialers[protocol](c.pod('a').ns, to, NODE_PORT)).server, undefined);
        }
        assert.equal((await dialTcp(node, to, 80)).why, 'ECONNREFUSED', 'a cluster port is no node port');
        if (!can.includes(family)) continue;
        if (family === 4) assert.ok((await dialTcp(node, `::ffff:${to}`, NODE_PORT)).server);
        const kept = await keepTcp(t, node, to, NODE_PORT);
        assert.equal(kept.socket.remoteAddress, to);
        assert.ok(await kept.echo());
      }
  });

  it('with a Local policy clients outside reach what is on the node, and others all', async (_t, c) => {
    const ends = wish('NodePort', [c.pod('c')], { local: true });
    if (!offers(c, ends)) return;
    await c.setFrontends(both(ends));
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS) {
        const [one, two] = c.lab.nodes.map(({ remote }) => remote.addresses[family] ?? '');
        const dial = (to: string) =>
          dialers[protocol](c.lab.outside, to, NODE_PORT, { localAddress: OUTSIDE[family] });
        const answers = await Promise.all([one, two].map((to) => dial(to ?? '')));
        assert.deepEqual(answers, [{ why: 'ETIMEDOUT' }, { server: 'c', seen: OUTSIDE[family] }]);
        for (const ns of [c.pod('a').ns, c.lab.nodes[0]!.ns])
          assert.equal((await dialers[protocol](ns, one ?? '', NODE_PORT)).server, 'c');
      }
  });

  for (const kind of ['ExternalIP', 'LoadBalancer'] as const)
    it(`${kind} addresses serve clients outside, pods and nodes`, async (t, c) => {
      const ends = wish(kind, [c.pod('b'), c.pod('c')]);
      if (!offers(c, ends)) return;
      announce(t, c, publicAddresses(1), 0);
      await c.setFrontends(both(ends));
      const node = c.lab.nodes[0]!;
      for (const family of FAMILIES)
        for (const protocol of PROTOCOLS) {
          const to = publicAddresses(1)[family];
          const callers = [
            { ns: c.lab.outside, own: OUTSIDE[family], options: { localAddress: OUTSIDE[family] } },
            { ns: c.pod('a').ns, own: c.pod('a').addresses[family], options: {} },
            { ns: node.ns, own: node.remote.addresses[family], options: {} },
          ];
          for (const { ns, own, options } of callers) {
            const servers = await distinct(2, 60, async () => {
              const answer = await dialers[protocol](ns, to, 80, options);
              const masked = ns === c.lab.outside && answer.server === 'c';
              assert.equal(answer.seen, masked ? node.remote.addresses[family] : own);
              return answer;
            });
            assert.deepEqual(servers, ['b', 'c'], `${protocol} from ${own}`);
          }
        }
    });

  it('without a backend clients are refused or dropped, as the frontend says', async (t, c) => {
    if (!offers(c, wish('NodePort', [], { whenEmpty: 'drop' }))) return;
    announce(t, c, publicAddresses(1), 0);
    for (const whenEmpty of ['refuse', 'drop'] as const) {
      const kinds = (['ClusterIP', 'NodePort', 'LoadBalancer'] as const).filter((kind) =>
        offers(c, wish(kind, [], { whenEmpty })),
      );
      await c.setFrontends(kinds.flatMap((kind) => both(wish(kind, [], { whenEmpty }))));
      const why = whenEmpty === 'refuse' ? 'ECONNREFUSED' : 'ETIMEDOUT';
      // All at once: what is dropped shows only as time.
      const dials: Promise<void>[] = [];
      for (const kind of kinds)
        for (const family of FAMILIES) {
          const to =
            kind === 'NodePort'
              ? c.lab.nodes[0]!.remote.addresses[family]
              : (kind === 'ClusterIP' ? serviceAddresses(1) : publicAddresses(1))[family];
          const port = kind === 'NodePort' ? NODE_PORT : 80;
          const callers = [
            c.pod('a').ns,
            c.lab.nodes[0]!.ns,
            ...(kind === 'ClusterIP' ? [] : [c.lab.outside]),
          ];
          for (const ns of callers)
            dials.push(
              dialTcp(ns, to ?? '', port).then((answer) =>
                assert.deepEqual(answer, { why }, `${kind} ${whenEmpty} ${ns.path}`),
              ),
            );
          dials.push(
            dialUdp(c.pod('a').ns, to ?? '', port).then(({ server }) => assert.equal(server, undefined)),
          );
        }
      await Promise.all(dials);
    }
  });

  it('only the ranges of a balancer’s clients come in, and pods', async (t, c) => {
    const ranges = [`${OUTSIDE[0]}/32`, '192.0.2.128/25', '2001:db8::/127', '2001:db8::1/128'];
    const ends = wish('LoadBalancer', [c.pod('b'), c.pod('c')], { sourceRanges: ranges });
    if (!offers(c, ends)) return;
    announce(t, c, publicAddresses(1), 0);
    for (const local of [false, true]) {
      await c.setFrontends(both({ ...ends, local }));
      const dials = FAMILIES.flatMap((family) =>
        [dialTcp, dialUdp].map(async (dial) => {
          const to = publicAddresses(1)[family];
          const [inside, beyond, pod] = await Promise.all([
            dial(c.lab.outside, to, 80, { localAddress: OUTSIDE[family] }),
            dial(c.lab.outside, to, 80, { localAddress: GATEWAYS[family] }),
            dial(c.pod('a').ns, to, 80),
          ]);
          assert.ok(['b', 'c'].includes(inside.server ?? ''), JSON.stringify(inside));
          assert.deepEqual(beyond, { why: 'ETIMEDOUT' });
          assert.ok(pod.server);
        }),
      );
      await Promise.all(dials);
    }
    // Nobody, and everybody; what nothing serves is refused to whom it is open.
    for (const [sourceRanges, why] of [
      [[], 'ETIMEDOUT'],
      [['0.0.0.0/0', '::/0'], undefined],
    ] as const)
      for (const pods of [ends.pods, []]) {
        await c.setFrontends(both({ ...ends, sourceRanges, pods }));
        const answers = await Promise.all(
          publicAddresses(1).map((address) => dialTcp(c.lab.outside, address, 80)),
        );
        const expected = why ?? (pods.length === 0 ? 'ECONNREFUSED' : undefined);
        for (const answer of answers) assert.equal(answer.why, expected);
        for (const backend of c.backends) assert.deepEqual(await backend.verify(), []);
      }
  });

  it('datagrams from outside follow to the next backend, and to none', async (_t, c) => {
    if (!offers(c, wish('NodePort', []))) return;
    const to = c.lab.nodes[0]!.remote.addresses;
    for (const names of ['b', 'c', '', 'b', 'd']) {
      await c.setFrontends([
        wish('NodePort', names.split('').map(c.pod), { protocol: 'UDP' }),
        wish('NodePort', [c.pod('a')], { protocol: 'UDP', port: 30_081 }),
      ]);
      for (const family of FAMILIES) {
        const options = { localPort: 5353, localAddress: OUTSIDE[family] };
        const answer = await dialUdp(c.lab.outside, to[family] ?? '', NODE_PORT, options);
        assert.equal(answer.server, names === '' ? undefined : names);
      }
    }
  });

  it('a pod reaches itself through each of its addresses', async (_t, c) => {
    const kinds = (['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalIP'] as const).filter((kind) =>
      offers(c, wish(kind, [])),
    );
    await c.setFrontends(
      kinds.flatMap((kind, i) =>
        both(wish(kind, [c.pod('a')], kind === 'ExternalIP' ? { addresses: publicAddresses(i) } : {})),
      ),
    );
    for (const [i, kind] of kinds.entries())
      for (const family of FAMILIES) {
        const addresses = {
          ClusterIP: serviceAddresses(1),
          NodePort: c.lab.nodes[0]!.remote.addresses,
          LoadBalancer: publicAddresses(1),
          ExternalIP: publicAddresses(i),
        }[kind];
        for (const dial of [dialTcp, dialUdp]) {
          const answer = await dial(
            c.pod('a').ns,
            addresses[family] ?? '',
            kind === 'NodePort' ? NODE_PORT : 80,
          );
          assert.equal(answer.server, 'a', `${kind} ${JSON.stringify(answer)}`);
        }
      }
  });

  it('a backend in the network of a node serves like any other', async (t, c) => {
    const [one, two] = [c.lab.nodes[0]!, c.lab.nodes[1]!];
    const [v4 = '', v6 = ''] = one.remote.addresses;
    const host = { ...c.pod('b'), name: 'host', ns: one.ns, addresses: [v4, v6] as const };
    serveTcp(t, one.ns, TARGETS.TCP, 'host');
    serveUdp(t, one.ns, host.addresses, TARGETS.UDP, 'host');
    const kinds = (['ClusterIP', 'NodePort'] as const).filter((kind) => offers(c, wish(kind, [])));
    await c.setFrontends(kinds.flatMap((kind) => both(wish(kind, [host]))));
    for (const family of FAMILIES)
      for (const dial of [dialTcp, dialUdp]) {
        for (const ns of [c.pod('a').ns, c.pod('c').ns, one.ns, two.ns])
          assert.equal((await dial(ns, serviceAddresses(1)[family], 80)).server, 'host', ns.path);
        if (!kinds.includes('NodePort')) continue;
        for (const node of [one, two]) {
          const to = node.remote.addresses[family] ?? '';
          const own = OUTSIDE[family];
          const answer = await dial(c.lab.outside, to, NODE_PORT, { localAddress: own });
          assert.deepEqual(answer, { server: 'host', seen: node === one ? own : to });
        }
      }
  });

  it('clients outside are told that a backend does not listen', async (t, c) => {
    const silent = { protocol: 'UDP', target: 9 } as const;
    if (!offers(c, wish('NodePort', [], silent))) return;
    for (const name of ['b', 'c']) {
      await c.setFrontends([wish('NodePort', [c.pod(name)], silent)]);
      for (const family of FAMILIES) {
        const to = c.lab.nodes[0]!.remote.addresses[family] ?? '';
        assert.equal(await connectedError(t, c.lab.outside, to, NODE_PORT), 'ECONNREFUSED', `${name} ${to}`);
      }
    }
  });

  it('policy judges clients outside by their own address where it is kept', async (_t, c) => {
    if (!offers(c, wish('NodePort', [])) || !c.backends[0]?.capabilities.policy) return;
    await c.setFrontends(both(wish('NodePort', [c.pod('b')])));
    const from = OUTSIDE.map((address, i) => ({ ipBlock: { cidr: `${address}/${i === 0 ? 32 : 128}` } }));
    await c.setPolicies({ b: { podSelector: { matchLabels: { app: 'b' } }, ingress: [{ from }] } });
    const dials = FAMILIES.flatMap((family) =>
      [dialTcp, dialUdp].map(async (dial) => {
        const to = c.lab.nodes[0]!.remote.addresses[family] ?? '';
        const own = OUTSIDE[family];
        const [allowed, denied] = await Promise.all(
          [own, GATEWAYS[family]].map((localAddress) => dial(c.lab.outside, to, NODE_PORT, { localAddress })),
        );
        assert.deepEqual(allowed, { server: 'b', seen: own });
        assert.deepEqual(denied, { why: 'ETIMEDOUT' });
      }),
    );
    await Promise.all(dials);
  });
}
