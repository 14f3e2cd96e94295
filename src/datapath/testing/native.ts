/** Nodes without a tunnel: who may say that he is a pod of another node. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster, type OpenBackend } from './cluster.ts';
import { settled, witness } from './packets.ts';
import { dialTcp, serveTcp } from './traffic.ts';

const routing = { sends: 'native', accepts: ['native'] } as const;

async function sendFrom(t: TestContext, ns: Netns, from: string, to: string, port: number): Promise<void> {
  const socket = createSocket(from.includes(':') ? 'udp6' : 'udp4');
  t.after(() => void socket.close());
  socket.bind({ fd: bindUdp(ns, from, 0) });
  await new Promise<void>((resolve, reject) =>
    socket.send('x', port, to, (error) => (error ? reject(error) : resolve())),
  );
}

export function nativeContract(name: string, openBackend: OpenBackend): void {
  void test(`${name}: without a tunnel pods are who they say, as far as their node says so`, {
    skip: needsRoot,
  }, async (t) => {
    const { lab, plans, backends, pod, apply } = await createCluster(t, openBackend);
    for (const [i, { settings }] of lab.nodes.entries()) plans[i]!.setSettings({ ...settings, routing });
    await apply();
    for (const backend of backends) assert.deepEqual(await backend.verify(), []);
    const [a, b, c] = [pod('a'), pod('b'), pod('c')];
    assert.equal(lab.nodes[0]!.route.link('vxlan0'), undefined);
    for (const each of [b, c]) serveTcp(t, each.ns, 8080, each.name);
    for (const family of [0, 1] as const)
      for (const each of [b, c])
        assert.deepEqual(await dialTcp(a.ns, each.addresses[family], 8080), {
          server: each.name,
          seen: a.addresses[family],
        });
    const arrived: PacketFlow[] = [];
    witness(t, b.ns, (flow) => void arrived.push(flow));
    const outside = openRoute(lab.outside);
    t.after(() => outside.close());
    // Of this node, of nobody, and of another node: whose link address is another.
    const forged = [a.addresses, ['10.244.77.9', 'fd00:10:244:77::9'], c.addresses] as const;
    for (const [i, addresses] of forged.entries())
      for (const family of [0, 1] as const) {
        const [src, dst] = [addresses[family] ?? '', b.addresses[family]];
        const bits = family === 0 ? 32 : 128;
        outside.replaceAddress('lo', `${src}/${bits}`, { nodad: true });
        const via = lab.nodes[0]!.remote.addresses[family] ?? '';
        outside.replaceRoute({ dst: `${dst}/${bits}`, via, dev: 'eth0' });
        await sendFrom(t, lab.outside, src, dst, 7000 + i);
      }
    for (const family of [0, 1] as const)
      await sendFrom(t, c.ns, c.addresses[family], b.addresses[family], 7100);
    await settled(
      () => arrived.filter(({ dport }) => dport === 7100).length === 2,
      () => JSON.stringify(arrived),
    );
    const heard = new Set(arrived.map(({ dport }) => dport));
    assert.deepEqual(
      [7000, 7001, 7002].filter((port) => heard.has(port)),
      [],
    );
  });
}
