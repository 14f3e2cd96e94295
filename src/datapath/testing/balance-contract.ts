/** Which of a service's backends a client gets: by draws, turns, hashes, weights and memory. */
import assert from 'node:assert/strict';
import { openRoute } from '../../kernel/route.ts';
import { type OpenBackend, serviceAddresses } from './cluster.ts';
import { publicAddresses } from './frontends.ts';
import { GATEWAYS, OUTSIDE } from './lab.ts';
import {
  announce,
  both,
  dialers,
  distinct,
  FAMILIES,
  offers,
  PROTOCOLS,
  scenarios,
  wish,
} from './service-lab.ts';
import { dialTcp, dialUdp, keepTcp, keepUdp } from './traffic.ts';

/** Over two nodes with pods a and b on the first, c and d on the second. */
export function balanceContract(name: string, openBackend: OpenBackend): void {
  const it = scenarios(name, openBackend);

  it('session affinity holds a client at one backend, until that one goes', async (t, c) => {
    const pods = [c.pod('b'), c.pod('c'), c.pod('d')];
    const ends = wish('LoadBalancer', pods, { affinitySeconds: 300 });
    if (!offers(c, ends)) return;
    announce(t, c, publicAddresses(1), 0);
    await c.setFrontends(both(ends));
    const node = c.lab.nodes[0]!;
    const firsts = new Set<string>();
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS)
        for (const [ns, localAddress] of [
          [c.pod('a').ns, undefined],
          [node.ns, undefined],
          [c.lab.outside, OUTSIDE[family]],
          [c.lab.outside, GATEWAYS[family]],
        ] as const) {
          const dial = () =>
            dialers[protocol](ns, publicAddresses(1)[family], 80, localAddress ? { localAddress } : {});
          const first = (await dial()).server ?? '';
          assert.deepEqual(await distinct(2, 8, dial), [first], `${protocol} ${ns.path}`);
          firsts.add(first);
          await c.setFrontends(both({ ...ends, pods: pods.filter((pod) => pod.name !== first) }));
          const second = (await dial()).server ?? '';
          assert.ok(second !== first && second !== '', `${first} is gone`);
          await c.setFrontends(both(ends));
          assert.deepEqual(await distinct(2, 8, dial), [second], 'and stays there');
        }
    assert.ok(firsts.size > 1, 'not all clients go to one');
  });

  it('session affinity ends when its time is over', async (_t, c) => {
    const ends = wish('ClusterIP', [c.pod('a'), c.pod('b'), c.pod('c'), c.pod('d')], { affinitySeconds: 1 });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    const servers = await distinct(2, 12, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1300));
      return dialTcp(c.lab.nodes[0]!.ns, serviceAddresses(1)[0], 80);
    });
    assert.equal(servers.length, 2);
  });

  it('new connections are shared by weight', async (_t, c) => {
    const ends = wish('ClusterIP', [c.pod('b'), c.pod('c')], { weights: { b: 1, c: 3 } });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    const COUNT = 300;
    let heavy = 0;
    for (let i = 0; i < COUNT; i++)
      if ((await dialTcp(c.pod('a').ns, serviceAddresses(1)[i % 2] ?? '', 80)).server === 'c') heavy++;
    // Five standard deviations to each side.
    assert.ok(heavy > 187 && heavy < 263, `${heavy} of ${COUNT}`);
  });

  it('a backend that drains keeps what it has and gets nothing new', async (t, c) => {
    const ends = wish('ClusterIP', [c.pod('b'), c.pod('c')], { weights: { b: 0, c: 2 } });
    if (!offers(c, ends)) return;
    for (const family of FAMILIES) {
      await c.setFrontends(both(wish('ClusterIP', [c.pod('b')])));
      const to = serviceAddresses(1)[family];
      const kept = await keepTcp(t, c.pod('a').ns, to, 80);
      const ask = keepUdp(t, c.pod('a').ns, family === 1);
      assert.equal((await ask(to, 80)).server, 'b');
      await c.setFrontends(both(ends));
      assert.ok(await kept.echo());
      assert.equal((await ask(to, 80)).server, 'b', 'a flow of datagrams stays too');
      assert.deepEqual(await distinct(2, 20, () => dialTcp(c.pod('a').ns, to, 80)), ['c']);
      assert.deepEqual(await distinct(2, 20, () => dialUdp(c.pod('a').ns, to, 80)), ['c']);
    }
  });

  it('round robin takes turns', async (_t, c) => {
    const ends = wish('ClusterIP', [c.pod('b'), c.pod('c'), c.pod('d')], { algorithm: 'round-robin' });
    if (!offers(c, ends)) return;
    await c.setFrontends(both(ends));
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS) {
        const counts: Record<string, number> = {};
        for (let i = 0; i < 12; i++) {
          const { server = '' } = await dialers[protocol](c.pod('a').ns, serviceAddresses(1)[family], 80);
          counts[server] = (counts[server] ?? 0) + 1;
        }
        assert.deepEqual({ ...counts }, { b: 4, c: 4, d: 4 });
      }
  });

  it('least connection gives new connections to whoever has fewest, for its weight', async (t, c) => {
    const pods = [c.pod('b'), c.pod('c'), c.pod('d')];
    const ends = wish('LoadBalancer', pods, { algorithm: 'least-connection', weights: { b: 1, c: 1, d: 2 } });
    if (!offers(c, ends)) return;
    announce(t, c, publicAddresses(1), 0);
    for (const family of FAMILIES)
      for (const ns of [c.pod('a').ns, c.lab.nodes[0]!.ns, c.lab.outside]) {
        // Backends that come again have no connections yet.
        await c.setFrontends([]);
        await c.setFrontends([ends]);
        const to = publicAddresses(1)[family];
        const held: Awaited<ReturnType<typeof keepTcp>>[] = [];
        const keep = async (count: number) => {
          for (let i = 0; i < count; i++) held.push(await keepTcp(t, ns, to, 80));
        };
        const tally = () => pods.map(({ name }) => held.filter(({ server }) => server === name).length);
        await keep(20);
        assert.deepEqual(tally(), [5, 5, 10], ns.path);
        for (const one of held.splice(0)) {
          if (one.server === 'b') one.socket.destroy();
          else held.push(one);
        }
        // Both ends have to say that it is over.
        for (let row = 0, tries = 0; row < 8; tries++) {
          assert.ok(tries < 500, `${ns.path}: what closed is not given back`);
          row = (await dialTcp(ns, to, 80)).server === 'b' ? row + 1 : 0;
        }
        await keep(2);
        assert.deepEqual(tally(), [2, 5, 10], `${ns.path}: what closed is filled up again`);
        for (const { socket } of held) socket.destroy();
      }
  });

  for (const algorithm of ['maglev', 'ring-hash'] as const)
    it(`by ${algorithm} every node chooses the same backend for a connection, and connections spread`, async (t, c) => {
      const ends = wish('LoadBalancer', [c.pod('b'), c.pod('c'), c.pod('d')], { algorithm, protocol: 'UDP' });
      // Not saying anything is no wish for Maglev: then a backend does what it can.
      if (!c.backends[0]?.capabilities.services?.algorithms.includes(algorithm)) return;
      await c.setFrontends([ends]);
      const route = openRoute(c.lab.outside);
      t.after(() => route.close());
      const servers = new Set<string>();
      for (const family of FAMILIES)
        for (let i = 1; i <= 12; i++) {
          // A ring is of clients, whose connections stay together.
          const localAddress = family === 0 ? `192.0.2.${i}` : `2001:db8::${i.toString(16)}`;
          route.replaceAddress('lo', `${localAddress}/${family === 0 ? 32 : 128}`, { nodad: true });
          const answers = [];
          for (const node of [0, 1]) {
            announce(t, c, publicAddresses(1), node);
            const options = { localPort: 7000 + i, localAddress };
            answers.push(
              (await dialUdp(c.lab.outside, publicAddresses(1)[family], 80, options)).server ?? '',
            );
          }
          assert.equal(answers[0], answers[1]);
          servers.add(answers[0] ?? '');
        }
      assert.deepEqual([...servers].sort(), ['b', 'c', 'd']);
    });

  it('by source hash a client has one backend', async (_t, c) => {
    const ends = wish('ClusterIP', [c.pod('b'), c.pod('c'), c.pod('d')], { algorithm: 'source-hash' });
    if (!offers(c, ends)) return;
    await c.setFrontends(both(ends));
    for (const family of FAMILIES)
      for (const dial of [dialTcp, dialUdp])
        assert.equal(
          (await distinct(2, 12, () => dial(c.pod('a').ns, serviceAddresses(1)[family], 80))).length,
          1,
        );
  });
}
