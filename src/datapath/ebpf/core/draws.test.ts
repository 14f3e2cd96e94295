/** Random worlds and packets through the loaded programs, without an interface: what they decide is what policy says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openRing } from '../../../kernel/bpf/ring.ts';
import { testRun } from '../../../kernel/bpf/test-run.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { compile } from '../../../policy/compile.ts';
import type { Decision } from '../../../policy/decision.ts';
import { createLookup } from '../../../policy/lookup.ts';
import { stagedWorlds, worlds } from '../../../policy/testing/arbitraries.ts';
import { packetWorlds } from '../../../policy/testing/cilium-policies.ts';
import type { Protocol, World } from '../../../policy/world.ts';
import type { ProbeResult } from '../../backend.ts';
import { createPlan } from '../../plan/plan.ts';
import type { PlanState } from '../../plan/tables.ts';
import { nodeObject } from '../../testing/cluster.ts';
import { decidedText, expectedText } from '../../testing/decided-text.ts';
import { openEbpfWith } from '../../testing/ebpf.ts';
import { createLab } from '../../testing/lab.ts';
import { frame } from './testing/frames.ts';

const TC_OK = 0;
const TC_SHOT = 2;
const TC_REDIRECT = 7;
const FLOWS = 100;
const PORTS = [0, 53, 80, 81, 82, 443, 8080, 65535];
const NUMBERS: Readonly<Record<Protocol, readonly [number, number]>> = {
  TCP: [6, 6],
  UDP: [17, 17],
  SCTP: [132, 132],
  ICMP: [1, 58],
  OTHER: [140, 140],
};
const REMOTE = {
  node: 'node-2',
  addresses: ['10.240.0.12', 'fd00:10:240::12'],
  podCidrs: ['10.244.2.0/24', 'fd00:10:244:2::/64'],
};
const REMOTE_PODS = [2, 3, 4].map((i) => [`10.244.2.${i}`, `fd00:10:244:2::${i}`] as const);
const OUTSIDE = ['192.0.2.1', '2001:db8::1'] as const;

/** `node src/datapath/ebpf/core/draws.test.ts --runs 1000`: that many worlds, with 100 packets each. */
const flag = process.argv.indexOf('--runs');
/** A deep check draws twenty times as many, and sends more than 100,000 packets. */
const usual = process.env['HEDDLE_DEEP'] === '1' ? 90 : 20;
const numRuns = flag < 0 ? usual : Number(process.argv[flag + 1]);

test('every packet meets what policy says: verdict, rules and way', { skip: needsRoot }, async (t) => {
  const lab = createLab(t, 1);
  const node = lab.nodes[0]!;
  for (let i = 0; i < 4; i++) node.addPod(`p${i}`);
  const backend = openEbpfWith({ parts: () => [], maxEntries: { flows4: 8192, flows6: 8192 } })(t, node);
  const { programs } = backend;
  const plan = createPlan({ node: node.name });
  plan.setSettings({ ...node.settings, nodeLocal: ['10.96.0.10', 'fd00:10:96::a'] });
  plan.setLocalPods(node.pods());
  plan.setNode(nodeObject(REMOTE));
  plan.setNode(nodeObject(node.remote));
  plan.update();
  await backend.prune(plan.state);
  const events = programs.codec<{ rule: number; verdict: number; direction: number; reply: number }>(
    'struct policy_event',
  );
  let told: string[] = [];
  const ring = openRing({
    map: programs.map('policy_events'),
    onRecord(bytes, at) {
      const { rule, verdict, direction } = events.decode(bytes, at);
      told.push(
        `${direction === 1 ? 'egress' : 'ingress'} ${verdict === 1 ? 'deny' : 'allow'} ${decidedText(rule, plan.state)}`,
      );
    },
  });
  t.after(() => ring.close());
  const overlay = node.route.link('vxlan0')!.index;
  const linkOf = new Map<string, number>(
    lab.pods.map((pod) => [pod.addresses[0], node.route.link(pod.interface)!.index]),
  );
  const pods = [...lab.pods.map(({ addresses }) => addresses), ...REMOTE_PODS];
  const senders = lab.pods.map(({ mac }) => mac);
  const others = [node.remote.addresses, REMOTE.addresses, OUTSIDE, ['10.96.0.10', 'fd00:10:96::a']];
  const ends = [...pods, ...others];
  let serial = 0;

  function forget(): void {
    // A packet of a connection that is known is not told again.
    // Nor may a pod ask for so many neighbours that do not answer, as none does here.
    for (const name of ['flows4', 'flows6', 'crowd4', 'crowd6', 'neighbour_budgets'])
      for (const [key] of programs.map(name).entries()) programs.map(name).delete(key);
    for (const [, slot] of programs.map('rule_slots').entries())
      programs.map('event_limits').update(slot, new Uint8Array(8));
  }

  function settle(world: World): World {
    return {
      ...world,
      pods: world.pods.flatMap((pod, i) => {
        const addresses = pods[i];
        const where = i < lab.pods.length ? node.name : REMOTE.node;
        return addresses ? [{ ...pod, node: where, addresses: [...addresses], hostNetwork: false }] : [];
      }),
      nodes: [
        { ...world.nodes[0], name: node.name, addresses: node.remote.addresses },
        { ...world.nodes[1], name: REMOTE.node, addresses: REMOTE.addresses },
      ],
      nodeLocal: ['10.96.0.10', 'fd00:10:96::a'],
    };
  }

  const flows = fc.array(
    fc.record({
      src: fc.nat(ends.length - 1),
      dst: fc.nat(ends.length - 1),
      family: fc.constantFrom<0 | 1>(0, 1),
      protocol: fc.constantFrom<Protocol>('TCP', 'TCP', 'UDP', 'SCTP', 'ICMP', 'OTHER'),
      port: fc.constantFrom(...PORTS),
      withOptions: fc.boolean(),
    }),
    { minLength: FLOWS, maxLength: FLOWS },
  );
  /** What the programs say beforehand. */
  async function ask({ src, family, protocol, port }: Drawn, from: string, to: string) {
    if (protocol === 'OTHER') return undefined;
    const pod = lab.pods[src];
    const packet = {
      protocol: NUMBERS[protocol][family],
      src: from,
      dst: to,
      sport: serial & 0xffff,
      dport: protocol === 'ICMP' ? 0 : port,
    };
    return backend.probe!({ ...packet, ...(pod ? { origin: 'pod', from: pod.key } : { origin: 'overlay' }) });
  }

  let packets = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof(worlds, stagedWorlds, packetWorlds), flows, async (drawn, list) => {
      const tables = compile(settle(drawn), { onlyNode: node.name });
      plan.setPolicy(tables);
      await backend.apply(plan.update());
      const decide = createLookup(tables);
      forget();
      for (const [at, { src, dst, family, protocol, port, withOptions }] of list.entries()) {
        const from = ends[src]?.[family] ?? '';
        const to = ends[dst]?.[family] ?? '';
        const isLocal = src < lab.pods.length;
        // What comes through the tunnel is for pods of this node, and from nobody of it.
        if (!isLocal && (dst >= lab.pods.length || src === pods.length || src === ends.length - 1)) continue;
        const decision = decide({
          src: from,
          dst: to,
          protocol,
          port: protocol === 'ICMP' ? undefined : port,
        });
        told = [];
        const said = await ask(list[at]!, from, to);
        ring.drain();
        assert.deepEqual(told, [], 'asking tells nothing');
        const { verdict } = testRun({
          program: programs.program(isLocal ? 'from_pod' : 'from_overlay'),
          data: frame({
            src: from,
            dst: to,
            protocol: protocol === 'OTHER' ? 140 + (serial % 100) : NUMBERS[protocol][family],
            sport: serial++ & 0xffff,
            dport: port,
            withOptions,
            mac: senders[src],
          }),
          context: { ifindex: isLocal ? (linkOf.get(lab.pods[src]?.addresses[0] ?? '') ?? 0) : overlay },
          ns: node.ns,
        });
        ring.drain();
        packets++;
        const passes = dst < pods.length ? TC_REDIRECT : TC_OK;
        assert.deepEqual(
          { verdict, rules: told },
          { verdict: decision.verdict === 'allow' ? passes : TC_SHOT, rules: rulesOf(decision) },
          `${from} > ${to} ${protocol} ${port}`,
        );
        if (said)
          assert.deepEqual(
            said.map((each) => saidOf(each, plan.state)),
            [expectedOf(decision, passes)],
            'asked before',
          );
      }
      assert.deepEqual(await backend.verify(), []);
    }),
    { numRuns, endOnFailure: true, interruptAfterTimeLimit: 500_000 },
  );
  t.diagnostic(`${packets} packets`);
});

interface Drawn {
  readonly src: number;
  readonly family: 0 | 1;
  readonly protocol: Protocol;
  readonly port: number;
}

/** What the kernel is expected to tell: the other side is not asked after a deny. */
function rulesOf({ egress, ingress }: Decision): string[] {
  const sides = [
    ['egress', egress],
    ['ingress', egress.verdict === 'allow' ? ingress : undefined],
  ] as const;
  return sides.flatMap(([name, side]) =>
    side && expectedText(side) !== '0' ? [`${name} ${side.verdict} ${expectedText(side)}`] : [],
  );
}

const saidOf = ({ verdict, next, egressRule, ingressRule }: ProbeResult, state: PlanState) => ({
  verdict,
  passes: next === 'pod' || next === 'tunnel' ? TC_REDIRECT : next === 'stack' ? TC_OK : TC_SHOT,
  egress: decidedText(egressRule, state),
  ingress: decidedText(ingressRule, state),
});

const expectedOf = ({ verdict, egress, ingress }: Decision, passes: number): ReturnType<typeof saidOf> => ({
  verdict: verdict === 'allow' ? 'allow' : 'deny',
  passes: verdict === 'allow' ? passes : TC_SHOT,
  egress: expectedText(egress),
  ingress: egress.verdict === 'allow' ? expectedText(ingress) : '0',
});
