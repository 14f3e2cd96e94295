/** What every backend keeps, whatever it programs: tests of state alone, and tests with packets. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { openRoute } from '../../kernel/route.ts';
import type { Backend, PolicyEvent } from '../backend.ts';
import { createPlan } from '../plan/plan.ts';
import { emptyState } from '../plan/tables.ts';
import { createCluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { GATEWAYS, knowPods, OUTSIDE } from './lab.ts';
import { settled } from './packets.ts';
import { balanceContract } from './balance-contract.ts';
import { elsewhereContract } from './elsewhere-contract.ts';
import { serviceContract } from './service-contract.ts';
import { slicedTest } from './pace.ts';
import { type Answer, connectedError, dialTcp, dialUdp, keepTcp, serveTcp, serveUdp } from './traffic.ts';

export interface Opened {
  readonly backend: Backend;
  /** How often something was sent to the kernel. */
  sent(): number;
  /** Another backend on the same kernel: the agent has started again. */
  reopen(): Opened;
}

const state = () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setSettings({
    node: 'node-1',
    nodeAddresses: ['10.240.0.11', 'fd00:10:240::11'],
    nodePodCidrs: ['10.244.1.0/24'],
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
    serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    underlayCidrs: ['10.240.0.0/24'],
    podLinks: 'veth',
    tunnelPort: 4789,
  });
  plan.update();
  return plan;
};

const pod = { namespace: 'x', name: 'p', interface: 'veth1', addresses: ['10.244.1.2', 'fd00:10:244:1::2'] };

/** @param options.skip a reason, as node:test takes it */
export function stateContract(
  name: string,
  open: (t: TestContext) => Opened,
  options: { skip?: string | false } = {},
): void {
  const it = (what: string, fn: (t: TestContext) => Promise<void>): void =>
    slicedTest(`${name}: ${what}`, options, fn);

  it('nothing is applied before the first prune', async (t) => {
    await assert.rejects(open(t).backend.apply([]), /prune/);
  });

  it('a second prune of the same state, and a restart, send nothing', async (t) => {
    const first = open(t);
    const plan = state();
    plan.setLocalPods([pod]);
    plan.update();
    assert.notDeepEqual(await first.backend.prune(plan.state), []);
    const before = first.sent();
    assert.deepEqual(await first.backend.prune(plan.state), []);
    const again = first.reopen();
    assert.deepEqual(await again.backend.prune(plan.state), []);
    assert.deepEqual(await again.backend.verify(), []);
    assert.equal(first.sent() + again.sent(), before + (again === first ? before : 0));
  });

  it('applying what is there sends nothing, and what is not there one batch', async (t) => {
    const { backend, sent } = open(t);
    const plan = state();
    await backend.prune(plan.state);
    plan.setLocalPods([pod]);
    const changes = plan.update();
    const before = sent();
    await backend.apply(changes);
    assert.equal(sent(), before + 1);
    await backend.apply(changes);
    assert.equal(sent(), before + 1);
    assert.deepEqual(await backend.verify(), []);
  });

  it('a prune removes what the state does not have', async (t) => {
    const { backend } = open(t);
    const plan = state();
    plan.setLocalPods([pod]);
    plan.update();
    await backend.prune(plan.state);
    await backend.prune(emptyState());
    assert.deepEqual(await backend.verify(), []);
    const mended = await backend.prune(emptyState());
    assert.deepEqual(mended, []);
  });
}

const FAMILIES = [0, 1] as const;

/**
 * Over two nodes with pods a and b on the first, c on the second.
 * @param elsewhere why what is not of services needs no test here, as node:test takes it
 */
export function packetContract(
  name: string,
  openBackend: OpenBackend,
  elsewhere: string | false = false,
): void {
  const it = (what: string, fn: (t: TestContext) => Promise<void>): void =>
    slicedTest(`${name}: ${what}`, { skip: needsRoot || elsewhere }, fn);

  it('pods reach pods on their node and on others, and are seen by their own address', async (t) => {
    const { pod } = await createCluster(t, openBackend);
    const [a, b, c] = [pod('a'), pod('b'), pod('c')];
    for (const each of [b, c]) {
      serveTcp(t, each.ns, 8080, each.name);
      serveUdp(t, each.ns, each.addresses, 8081, each.name);
      for (const family of FAMILIES) {
        const want: Answer = { server: each.name, seen: a.addresses[family] };
        assert.deepEqual(await dialTcp(a.ns, each.addresses[family], 8080), want);
        assert.deepEqual(await dialUdp(a.ns, each.addresses[family], 8081), want);
      }
    }
  });

  it('nodes reach pods of every node by their own address, and pods reach nodes', async (t) => {
    const { lab, pod } = await createCluster(t, openBackend);
    const [one, two] = [lab.nodes[0]!, lab.nodes[1]!];
    serveTcp(t, pod('c').ns, 8080, 'c');
    serveTcp(t, one.ns, 9090, 'one');
    for (const family of FAMILIES) {
      for (const node of [one, two])
        assert.deepEqual(await dialTcp(node.ns, pod('c').addresses[family], 8080), {
          server: 'c',
          seen: node.remote.addresses[family],
        });
      for (const each of [pod('a'), pod('c')])
        assert.deepEqual(await dialTcp(each.ns, one.remote.addresses[family] ?? '', 9090), {
          server: 'one',
          seen: each.addresses[family],
        });
    }
  });

  it('a service reaches every backend, from pods and nodes, and nobody is translated but by it', async (t) => {
    const { lab, pod, setService, apply } = await createCluster(t, openBackend);
    const [a, b, c] = [pod('a'), pod('b'), pod('c')];
    for (const each of [b, c]) {
      serveTcp(t, each.ns, 8080, each.name);
      serveUdp(t, each.ns, each.addresses, 8081, each.name);
    }
    setService(
      's',
      1,
      [
        { port: 80, target: 8080 },
        { port: 80, target: 8081, protocol: 'UDP' },
      ],
      [b, c],
    );
    await apply();
    const callers = [
      { ns: a.ns, addresses: a.addresses },
      { ns: lab.nodes[0]!.ns, addresses: lab.nodes[0]!.remote.addresses },
    ];
    for (const { ns, addresses } of callers)
      for (const family of FAMILIES)
        for (const dial of [dialTcp, dialUdp]) {
          const servers = new Set<string>();
          for (let i = 0; i < 60 && servers.size < 2; i++) {
            const answer = await dial(ns, serviceAddresses(1)[family], 80);
            assert.equal(answer.seen, addresses[family], JSON.stringify(answer));
            servers.add(answer.server ?? '');
          }
          assert.deepEqual([...servers].sort(), ['b', 'c']);
        }
  });

  it('a pod reaches itself through its own service', async (t) => {
    const { pod, setService, apply, setPolicies } = await createCluster(t, openBackend);
    serveTcp(t, pod('a').ns, 8080, 'a');
    setService('s', 1, [{ port: 80, target: 8080 }], [pod('a')]);
    await apply();
    for (const family of FAMILIES)
      assert.equal((await dialTcp(pod('a').ns, serviceAddresses(1)[family], 80)).server, 'a');
    await setPolicies({ isolated: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } });
    for (const family of FAMILIES)
      assert.equal((await dialTcp(pod('a').ns, serviceAddresses(1)[family], 80)).server, 'a', 'isolated');
  });

  it('service addresses without a backend or with another port refuse, from pods and nodes', async (t) => {
    const { lab, pod, setService, apply } = await createCluster(t, openBackend);
    setService('empty', 1, [{ port: 80, target: 8080 }], []);
    setService('s', 2, [{ port: 80, target: 8080 }], [pod('c')]);
    await apply();
    for (const ns of [pod('a').ns, lab.nodes[0]!.ns])
      for (const family of FAMILIES) {
        const tries = [
          [1, 80],
          [2, 81],
          [9, 80],
        ] as const;
        for (const [index, port] of tries)
          assert.deepEqual(await dialTcp(ns, serviceAddresses(index)[family], port), { why: 'ECONNREFUSED' });
      }
  });

  it('backends come and go, one at a time', async (t) => {
    const { pod, setService, apply, backends } = await createCluster(t, openBackend);
    for (const each of ['a', 'b', 'c']) serveTcp(t, pod(each).ns, 8080, each);
    const reached = async () => {
      const servers = new Set<string>();
      for (let i = 0; i < 24; i++) {
        const answer = await dialTcp(pod('a').ns, serviceAddresses(1)[i % 2] ?? '', 80);
        servers.add(answer.server ?? answer.why ?? '');
      }
      return [...servers].sort().join(' ');
    };
    for (const names of ['a b c', 'b c', 'c', 'a c', 'b', '', 'a']) {
      setService('s', 1, [{ port: 80, target: 8080 }], names.split(' ').filter(Boolean).map(pod));
      await apply();
      const got = await reached();
      for (const server of got.split(' ')) assert.ok((names || 'ECONNREFUSED').includes(server), got);
      assert.deepEqual(await backends[0]?.verify(), []);
    }
  });

  it('a datagram client that keeps its port follows to the next backend', async (t) => {
    const { pod, setService, apply } = await createCluster(t, openBackend);
    for (const each of [pod('b'), pod('c')]) serveUdp(t, each.ns, each.addresses, 8081, each.name);
    const ports = [{ port: 53, target: 8081, protocol: 'UDP' as const }];
    for (const name of ['b', 'c', 'b']) {
      setService('s', 1, ports, [pod(name)]);
      await apply();
      for (const family of FAMILIES)
        assert.equal(
          (await dialUdp(pod('a').ns, serviceAddresses(1)[family], 53, { localPort: 5353 })).server,
          name,
        );
    }
  });

  it('outside of the cluster pods are seen as their node', async (t) => {
    const { lab, pod } = await createCluster(t, openBackend);
    serveTcp(t, lab.outside, 80, 'outside');
    for (const family of FAMILIES)
      assert.deepEqual(await dialTcp(pod('c').ns, OUTSIDE[family], 80), {
        server: 'outside',
        seen: lab.nodes[1]?.remote.addresses[family],
      });
  });

  it('who outside knows the way to a pod is answered by its own address', async (t) => {
    const { lab, pod } = await createCluster(t, openBackend);
    knowPods(t, lab);
    for (const name of ['a', 'c']) {
      serveTcp(t, pod(name).ns, 8080, name);
      serveUdp(t, pod(name).ns, pod(name).addresses, 8081, name);
      for (const family of FAMILIES) {
        const to = pod(name).addresses[family];
        const seen = GATEWAYS[family];
        assert.deepEqual(await dialTcp(lab.outside, to, 8080), { server: name, seen });
        assert.deepEqual(await dialUdp(lab.outside, to, 8081), { server: name, seen });
      }
    }
    // What a pod begins itself is its node's, as ever.
    serveTcp(t, lab.outside, 80, 'outside');
    for (const family of FAMILIES)
      assert.equal(
        (await dialTcp(pod('c').ns, OUTSIDE[family], 80)).seen,
        lab.nodes[1]?.remote.addresses[family],
      );
  });

  it('a pod cannot send as another', async (t) => {
    const { pod } = await createCluster(t, openBackend);
    const [a, b] = [pod('a'), pod('b')];
    serveTcp(t, pod('c').ns, 8080, 'c');
    const route = openRoute(a.ns);
    t.after(() => route.close());
    for (const family of FAMILIES) {
      route.replaceAddress('lo', `${b.addresses[family]}/${family === 0 ? 32 : 128}`, { nodad: true });
      const to = pod('c').addresses[family];
      assert.deepEqual(await dialTcp(a.ns, to, 8080, { localAddress: b.addresses[family] }), {
        why: 'ETIMEDOUT',
      });
      assert.equal((await dialTcp(a.ns, to, 8080, { localAddress: a.addresses[family] })).server, 'c');
    }
  });

  it('verdicts are made by both ends, counted by rule, and told with the rule', async (t) => {
    const { backends, pod, setPolicies } = await createCluster(t, openBackend);
    serveTcp(t, pod('c').ns, 8080, 'c');
    const events: PolicyEvent[] = [];
    for (const backend of backends) t.after(backend.events((list) => void events.push(...list)));
    const [here, there] = await setPolicies({
      'egress-a': {
        podSelector: { matchLabels: { app: 'a' } },
        policyTypes: ['Egress'],
        egress: [{ to: [{ podSelector: {} }] }],
      },
      'ingress-c': {
        podSelector: { matchLabels: { app: 'c' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: 'a' } } }], ports: [{ port: 8080 }] }],
      },
    });
    for (const family of FAMILIES) {
      const to = pod('c').addresses[family];
      const [allowed, ...denied] = await Promise.all([
        dialTcp(pod('a').ns, to, 8080),
        dialTcp(pod('b').ns, to, 8080),
        dialTcp(pod('a').ns, to, 8081),
        dialTcp(pod('a').ns, OUTSIDE[family], 80),
      ]);
      assert.equal(allowed.server, 'c');
      for (const answer of denied) assert.deepEqual(answer, { why: 'ETIMEDOUT' });
    }
    const texts = new Map([...here!.rules, ...there!.rules].map(([number, { text }]) => [number, text]));
    const told = () =>
      [
        ...new Set(events.map((e) => `${e.src} ${e.dst} ${e.dport} ${e.verdict} ${texts.get(e.rule)}`)),
      ].sort();
    const want = FAMILIES.flatMap((family) => {
      const [a, b, c] = ['a', 'b', 'c'].map((each) => pod(each).addresses[family]);
      return [
        `${a} ${c} 8080 allow NetworkPolicy default/egress-a spec.egress[0]`,
        `${a} ${c} 8080 allow NetworkPolicy default/ingress-c spec.ingress[0]`,
        `${b} ${c} 8080 deny default deny ingress: NetworkPolicy default/ingress-c`,
        `${a} ${c} 8081 allow NetworkPolicy default/egress-a spec.egress[0]`,
        `${a} ${c} 8081 deny default deny ingress: NetworkPolicy default/ingress-c`,
        `${a} ${OUTSIDE[family]} 80 deny default deny egress: NetworkPolicy default/egress-a`,
      ];
    }).sort();
    await settled(
      () => told().length >= want.length,
      () => told().join('\n'),
    );
    assert.deepEqual(told(), want);
    const counts = await backends[1]?.counters();
    for (const number of there!.rules.keys()) assert.ok((counts?.get(number)?.packets ?? 0) > 0);
  });

  it('an established connection is cut by a deny, and lives again when it is allowed again', async (t) => {
    const { pod, setPolicies } = await createCluster(t, openBackend);
    serveTcp(t, pod('c').ns, 8080, 'c');
    const kept = await Promise.all(
      FAMILIES.map((family) => keepTcp(t, pod('a').ns, pod('c').addresses[family], 8080)),
    );
    for (const { echo } of kept) assert.ok(await echo());
    await setPolicies({ all: { podSelector: { matchLabels: { app: 'c' } }, policyTypes: ['Ingress'] } });
    for (const { echo } of kept) assert.equal(await echo(150), false);
    await setPolicies({});
    for (const { echo } of kept) assert.ok(await echo());
    await setPolicies({ all: { podSelector: { matchLabels: { app: 'a' } }, policyTypes: ['Egress'] } });
    for (const { echo } of kept) assert.equal(await echo(150), false);
  });

  it('an isolated client gets the answers and the ICMP errors of what it may send', async (t) => {
    const { pod, setPolicies } = await createCluster(t, openBackend);
    serveUdp(t, pod('c').ns, pod('c').addresses, 8081, 'c');
    const peers = [{ podSelector: { matchLabels: { app: 'c' } } }];
    await setPolicies({
      a: {
        podSelector: { matchLabels: { app: 'a' } },
        policyTypes: ['Ingress', 'Egress'],
        egress: [{ to: peers }],
      },
    });
    for (const family of FAMILIES) {
      const to = pod('c').addresses[family];
      assert.equal((await dialUdp(pod('a').ns, to, 8081)).server, 'c');
      assert.equal(await connectedError(t, pod('a').ns, to, 9), 'ECONNREFUSED');
    }
  });

  it('policy sees the backend and its port, not the service', async (t) => {
    const { pod, setService, setPolicies } = await createCluster(t, openBackend);
    serveTcp(t, pod('c').ns, 8080, 'c');
    setService('s', 1, [{ port: 80, target: 8080 }], [pod('c')]);
    for (const [port, want] of [
      [8080, { server: 'c', seen: true }],
      [80, { why: 'ETIMEDOUT', seen: false }],
    ] as const) {
      await setPolicies({
        c: { podSelector: { matchLabels: { app: 'c' } }, ingress: [{ ports: [{ port }] }] },
        a: {
          podSelector: { matchLabels: { app: 'a' } },
          policyTypes: ['Egress'],
          egress: [{ to: [{ podSelector: { matchLabels: { app: 'c' } } }], ports: [{ port }] }],
        },
      });
      for (const family of FAMILIES) {
        const answer = await dialTcp(pod('a').ns, serviceAddresses(1)[family], 80);
        const seen = want.seen ? { seen: pod('a').addresses[family] } : { seen: undefined };
        assert.deepEqual({ seen: undefined, ...answer }, { ...want, ...seen });
      }
    }
  });

  it('datagrams in fragments are judged whole', async (t) => {
    const { pod, setPolicies } = await createCluster(t, openBackend);
    for (const port of [8081, 8082]) serveUdp(t, pod('c').ns, pod('c').addresses, port, 'c');
    await setPolicies({
      c: {
        podSelector: { matchLabels: { app: 'c' } },
        ingress: [{ ports: [{ port: 8081, protocol: 'UDP' }] }],
      },
    });
    for (const family of FAMILIES) {
      const to = pod('c').addresses[family];
      assert.equal((await dialUdp(pod('a').ns, to, 8081, { size: 5000 })).server, 'c');
      assert.equal((await dialUdp(pod('a').ns, to, 8082, { size: 5000 })).why, 'ETIMEDOUT');
    }
  });

  it('a restart changes nothing for connections', async (t) => {
    const { lab, pod, plans, setService, apply, backends } = await createCluster(t, openBackend);
    serveTcp(t, pod('c').ns, 8080, 'c');
    setService('s', 1, [{ port: 80, target: 8080 }], [pod('c')]);
    await apply();
    const kept = await keepTcp(t, pod('a').ns, serviceAddresses(1)[0], 80);
    backends[0]?.close();
    assert.ok(await kept.echo());
    assert.equal((await dialTcp(pod('a').ns, serviceAddresses(1)[1], 80)).server, 'c');
    const next = openBackend(t, lab.nodes[0]!);
    assert.deepEqual(await next.prune(plans[0]!.state), []);
    assert.ok(await kept.echo());
  });

  serviceContract(name, openBackend);
  elsewhereContract(name, openBackend);
  balanceContract(name, openBackend);
}
