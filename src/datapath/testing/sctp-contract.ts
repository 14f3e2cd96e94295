/**
 * What every backend does for SCTP, spoken by the kernel's own stack: associations through services, and policy.
 * All of it twice: with checksums that are left to the link, as between namespaces, then with such that the sender makes,
 * where a port that is translated changes the CRC32c of the whole packet (RFC 9260 appendix A).
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { type Cluster, createCluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { TARGETS } from './frontends.ts';
import { OUTSIDE } from './lab.ts';
import { checksumErrors, makeChecksums, needsSctp } from './sctp.ts';
import { distinct, FAMILIES, NODE_PORT, offers, PODS, wish } from './service-lab.ts';
import { type Answer, dialTcp, keepTcp, serveSctp } from './traffic.ts';

/** What is expected comes at once; a handshake of which something is lost says it again after three seconds. */
const PATIENT = { sctp: true, timeoutMs: 10_000 };
/** What is not expected does not come within the time of that second try. */
const SILENT = { sctp: true, timeoutMs: 4000 };

const dial = (ns: Netns, to: string | undefined, port: number, from?: string): Promise<Answer> =>
  dialTcp(ns, to ?? '', port, { ...PATIENT, ...(from === undefined ? {} : { localAddress: from }) });

const silence = async (ns: Netns, to: string | undefined, port: number): Promise<void> =>
  assert.deepEqual(await dialTcp(ns, to ?? '', port, SILENT), { why: 'ETIMEDOUT' });

const OTHER_PORT = 9000;
/** As lab.ts makes the links of pods. */
const POD_MTU = 1450;

/** A few segments of the largest size, and an odd one. */
const LARGE = 50_001;

/** Sends `LARGE` bytes and waits until they are back. */
async function echoLarge(
  t: TestContext,
  ns: Netns,
  to: string,
  port: number,
  localAddress?: string,
): Promise<void> {
  const from = localAddress === undefined ? {} : { localAddress };
  const { socket } = await keepTcp(t, ns, to, port, { ...PATIENT, ...from });
  const data = Buffer.from(Array.from({ length: LARGE }, (_, i) => i * 31 + (i >> 8)));
  const parts: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    socket.setTimeout(20_000, () => reject(new Error(`${to} is silent after ${size()} bytes`)));
    const size = (): number => parts.reduce((sum, part) => sum + part.length, 0);
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      if (size() >= LARGE) resolve();
    });
    socket.write(data);
  });
  assert.ok(Buffer.concat(parts).equals(data));
  socket.destroy();
}

const assertChecksums = (all: readonly Netns[]): void =>
  assert.deepEqual(
    all.map(checksumErrors),
    all.map(() => 0),
    'packets with a wrong checksum',
  );

/** Over two nodes with pods a and b on the first, c and d on the second. */
export function sctpContract(name: string, openBackend: OpenBackend): void {
  const skip = needsSctp();
  const it = (what: string, fn: (t: TestContext, cluster: Cluster) => Promise<void>): void =>
    void test(`${name}: ${what}`, { skip }, async (t) => {
      const cluster = await createCluster(t, openBackend, PODS);
      const { lab } = cluster;
      for (const { ns, addresses, name: who } of lab.pods)
        for (const port of [TARGETS.SCTP, OTHER_PORT]) serveSctp(t, ns, addresses, port, who);
      // Its first packets of full size would come in fragments after they were told too big for a pod's link.
      const route = openRoute(lab.outside);
      t.after(() => route.close());
      route.setLink('eth0', { mtu: POD_MTU });
      serveSctp(t, lab.outside, OUTSIDE, TARGETS.SCTP, 'outside');
      const all = [lab.outside, ...lab.nodes.map(({ ns }) => ns), ...lab.pods.map(({ ns }) => ns)];
      await fn(t, cluster);
      assertChecksums(all);
      for (const ns of all) makeChecksums(ns);
      await fn(t, cluster);
      assertChecksums(all);
      for (const backend of cluster.backends) assert.deepEqual(await backend.verify(), []);
    });

  it('pods reach pods on their node and on others by SCTP, also with much to say', async (t, { pod }) => {
    const a = pod('a');
    for (const name of ['b', 'c'])
      for (const family of FAMILIES) {
        const to = pod(name).addresses[family];
        assert.deepEqual(await dial(a.ns, to, TARGETS.SCTP), { server: name, seen: a.addresses[family] });
        await echoLarge(t, a.ns, to, TARGETS.SCTP);
      }
  });

  it('a service of SCTP reaches every backend, from pods and nodes', async (t, c) => {
    const ends = wish('ClusterIP', [c.pod('b'), c.pod('c')], { protocol: 'SCTP' });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    const callers = [
      { ns: c.pod('a').ns, addresses: c.pod('a').addresses },
      { ns: c.lab.nodes[0]!.ns, addresses: c.lab.nodes[0]!.remote.addresses },
    ];
    for (const { ns, addresses } of callers)
      for (const family of FAMILIES) {
        const to = serviceAddresses(1)[family];
        const servers = await distinct(2, 40, async () => {
          // A node is many addresses, and would tell its peers of all of them.
          const answer = await dial(ns, to, 80, addresses[family]);
          assert.equal(answer.seen, addresses[family], JSON.stringify(answer));
          return answer;
        });
        assert.deepEqual(servers, ['b', 'c']);
      }
    for (const name of ['b', 'c']) {
      await c.setFrontends([wish('ClusterIP', [c.pod(name)], { protocol: 'SCTP' })]);
      for (const family of FAMILIES) await echoLarge(t, c.pod('a').ns, serviceAddresses(1)[family], 80);
    }
  });

  it('a backend of SCTP that is outside of the cluster answers pods', async (t, c) => {
    const outside = { ...c.pod('b'), name: 'outside', ns: c.lab.outside, node: '', addresses: OUTSIDE };
    const ends = wish('ClusterIP', [outside], { protocol: 'SCTP' });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    for (const family of FAMILIES) {
      const to = serviceAddresses(1)[family];
      assert.deepEqual(await dial(c.pod('a').ns, to, 80), {
        server: 'outside',
        seen: c.lab.nodes[0]!.remote.addresses[family],
      });
      await echoLarge(t, c.pod('a').ns, to, 80);
    }
  });

  it('a pod reaches itself through its own service of SCTP', async (_t, c) => {
    const ends = wish('ClusterIP', [c.pod('a')], { protocol: 'SCTP' });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    for (const family of FAMILIES)
      assert.equal((await dial(c.pod('a').ns, serviceAddresses(1)[family], 80)).server, 'a');
  });

  it('a node port of SCTP leads clients outside to every backend', async (t, c) => {
    const ends = wish('NodePort', [c.pod('b'), c.pod('c')], { protocol: 'SCTP' });
    if (!offers(c, ends)) return;
    await c.setFrontends([ends]);
    for (const [index, node] of c.lab.nodes.entries())
      for (const family of FAMILIES) {
        const to = node.remote.addresses[family] ?? '';
        const servers = await distinct(2, 40, async () => {
          const answer = await dial(c.lab.outside, to, NODE_PORT, OUTSIDE[family]);
          const isLocal = answer.server === ['b', 'c'][index];
          assert.equal(answer.seen, isLocal ? OUTSIDE[family] : to, JSON.stringify(answer));
          return answer;
        });
        assert.deepEqual(servers, ['b', 'c']);
        assert.equal((await dial(c.pod('d').ns, to, NODE_PORT)).why, undefined, 'from a pod');
      }
    for (const name of ['b', 'c']) {
      await c.setFrontends([wish('NodePort', [c.pod(name)], { protocol: 'SCTP' })]);
      for (const family of FAMILIES) {
        const to = c.lab.nodes[0]!.remote.addresses[family] ?? '';
        await echoLarge(t, c.lab.outside, to, NODE_PORT, OUTSIDE[family]);
      }
    }
  });

  it('outside of the cluster pods that speak SCTP are seen as their node', async (_t, { lab, pod }) => {
    for (const family of FAMILIES)
      assert.deepEqual(await dial(pod('c').ns, OUTSIDE[family], TARGETS.SCTP), {
        server: 'outside',
        seen: lab.nodes[1]?.remote.addresses[family],
      });
  });

  it('policy allows and denies ports of SCTP, through a service too', async (t, c) => {
    if (!c.backends[0]?.capabilities.policy) return;
    const ends = wish('ClusterIP', [c.pod('c')], { protocol: 'SCTP' });
    const hasService = offers(c, ends);
    if (hasService) await c.setFrontends([ends]);
    const from = [{ podSelector: { matchLabels: { app: 'a' } } }];
    const rule = (protocol: 'SCTP' | 'TCP') => ({
      c: {
        podSelector: { matchLabels: { app: 'c' } },
        ingress: [{ from, ports: [{ port: TARGETS.SCTP, protocol }] }],
      },
    });
    const [a, b, server] = [c.pod('a'), c.pod('b'), c.pod('c')];
    for (const family of FAMILIES) {
      const [to, service] = [server.addresses[family], serviceAddresses(1)[family]];
      await c.setPolicies(rule('SCTP'));
      const kept = await keepTcp(t, a.ns, to, TARGETS.SCTP, PATIENT);
      assert.equal((await dial(a.ns, to, TARGETS.SCTP)).server, 'c');
      if (hasService) assert.equal((await dial(a.ns, service, 80)).server, 'c');
      await Promise.all([
        silence(a.ns, to, OTHER_PORT),
        silence(b.ns, to, TARGETS.SCTP),
        ...(hasService ? [silence(b.ns, service, 80)] : []),
      ]);
      await c.setPolicies(rule('TCP'));
      assert.equal(await kept.echo(1500), false, 'what was open is cut');
      await silence(a.ns, to, TARGETS.SCTP);
      await c.setPolicies({});
      assert.ok(await kept.echo(20_000), 'and goes on when it may');
      kept.socket.destroy();
    }
  });
}
