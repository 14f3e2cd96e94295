import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpfAtTc } from '../../testing/ebpf.ts';
import { dialUdp, keepTcp, serveTcp, serveUdp } from '../../testing/traffic.ts';
import type { NatKey, NatValue } from './cut.ts';
import { recount } from './recount.ts';

const PORT = 30_080;

test('what silence and eviction took from the tables counts no more, once it is counted again', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, backends, setFrontends } = await createCluster(t, openEbpfAtTc);
  const node = lab.nodes[0]!;
  const pods = [pod('a'), pod('b'), pod('c')];
  for (const each of pods) {
    serveTcp(t, each.ns, 8080, each.name);
    serveUdp(t, each.ns, each.addresses, 8081, each.name);
  }
  const ends = { kind: 'NodePort', port: PORT, pods, algorithm: 'least-connection' } as const;
  await setFrontends([ends, { ...ends, protocol: 'UDP' }]);
  const { programs } = backends[0]!;
  const counts = () =>
    [...programs.map('backend_flows').entries()].map(([, value]) =>
      Number(Buffer.from(value).readBigInt64LE()),
    );
  const counted = () => counts().reduce((sum, each) => sum + each, 0);
  const key = programs.codec<NatKey>('struct nat_key');
  const value = programs.codec<NatValue & { backend: number }>('struct nat_value');
  const addresses = node.settings.nodeAddresses;

  const held = [];
  for (let i = 0; i < 9; i++) for (const to of addresses) held.push(await keepTcp(t, lab.outside, to, PORT));
  assert.equal(counted(), 18);
  await recount(programs);
  assert.deepEqual(counts(), [3, 3, 3, 3, 3, 3], 'what is right stays');

  // One half is mended by its partner, and counts. Both are gone where neither was used.
  const nat4 = programs.map('nat4');
  const requests = [...nat4.entries()].filter(([, bytes]) => (value.decode(bytes).flags & 1) === 0);
  const [half, ...both] = requests.slice(0, 4);
  nat4.delete(half![0]);
  for (const [request, bytes] of both) {
    const { src, dst, sport, dport } = value.decode(bytes);
    nat4.delete(request);
    nat4.delete(key.encode({ ...key.decode(request), src: dst, dst: src, sport: dport, dport: sport }));
  }
  assert.equal(counted(), 18, 'nobody told the programs');
  await recount(programs);
  assert.equal(counted(), 15);

  // Datagrams end by silence alone.
  assert.ok((await dialUdp(lab.outside, addresses[0] ?? '', PORT)).server);
  assert.equal(counted(), 16);
  await recount(programs);
  assert.equal(counted(), 16);
  const later = (seconds: bigint) => () => process.hrtime.bigint() + seconds * 1_000_000_000n;
  await recount(programs, later(200n));
  assert.equal(counted(), 15);

  for (const [i, { socket }] of held.entries())
    if (i % 2 === 0) socket.destroy();
    else socket.resetAndDestroy();
  while (counted() > 3) await new Promise((resolve) => setTimeout(resolve, 10));
  await setFrontends([]);
  await recount(programs);
  assert.deepEqual(counts(), [], 'counts go with their backends');
});
