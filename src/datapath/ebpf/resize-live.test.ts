import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { frontendKey } from '../plan/tables.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openEbpfWith } from '../testing/ebpf.ts';
import { frontendsOn } from '../testing/frontends.ts';
import { keepTcp, keepUdp, serveTcp, serveUdp } from '../testing/traffic.ts';
import { mapSizes } from './sizes.ts';

const GIB = 2 ** 30;
const NODE_PORT = 30_080;

test('tables that become smaller, and larger again, cut no connection that lives', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends, plans, setFrontends } = await createCluster(t, openEbpfWith({}));
  const pods = [pod('b'), pod('c')];
  for (const each of pods) {
    serveTcp(t, each.ns, 8080, each.name);
    serveUdp(t, each.ns, each.addresses, 8081, each.name);
  }
  const nodePort = { kind: 'NodePort', port: NODE_PORT, pods } as const;
  const cluster = { kind: 'ClusterIP', port: 80, addresses: serviceAddresses(1), pods } as const;
  const wishes = [nodePort, cluster, { ...cluster, protocol: 'UDP', affinitySeconds: 600 }] as const;
  await setFrontends(wishes);
  const held = [];
  for (const to of lab.nodes[0]!.settings.nodeAddresses)
    for (let i = 0; i < 20; i++) held.push(await keepTcp(t, lab.outside, to, NODE_PORT));
  for (const to of serviceAddresses(1)) held.push(await keepTcp(t, pod('a').ns, to, 80));
  const ask = keepUdp(t, pod('a').ns, false);
  const first = (await ask(serviceAddresses(1)[0], 80)).server;

  for (const nodes of [40, 2, 40]) {
    const maxEntries = mapSizes({ memory: 24 * GIB, nodes });
    for (const [i, node] of lab.nodes.entries()) {
      const before = backends[i]!;
      const next = openEbpfWith({ maxEntries })(t, node);
      assert.equal(next.programs.map('nat4').maxEntries, maxEntries['nat4']);
      assert.deepEqual(
        next.programs.migrations.filter(({ unfit }) => unfit > 0),
        [],
      );
      const services = new Map(frontendsOn(node, wishes).map((each) => [frontendKey(each), each]));
      const mended = await next.prune({ ...plans[i]!.state, services });
      // A pod's shares follow the sizes.
      assert.ok(
        mended.every(({ what }) => /^(node_state|edge_settings) /.test(what)),
        JSON.stringify(mended),
      );
      before.close();
      backends[i] = next;
    }
    for (const { echo } of held) assert.ok(await echo(), `${nodes} nodes`);
    assert.equal((await ask(serviceAddresses(1)[0], 80)).server, first);
    for (const backend of backends) assert.deepEqual(await backend.verify(), []);
  }
});
