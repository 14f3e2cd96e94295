/**
 * Holds the kernel to the policies: draws of small worlds, put into the kernel of two nodes by differences from the
 * draw before, and real packets; what arrives and which rules the kernel's log names, enforced and audited, must be what `decide` says.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import type { Netns } from '../../kernel/netns.ts';
import { compile } from '../../policy/compile.ts';
import { createDecider } from '../../policy/decide.ts';
import type { Side } from '../../policy/decision.ts';
import { createLookup } from '../../policy/lookup.ts';
import { stagedWorlds, worlds } from '../../policy/testing/arbitraries.ts';
import { packetWorlds } from '../../policy/testing/cilium-policies.ts';
import { sourcelessWorlds } from '../../policy/testing/plain-worlds.ts';
import type { Protocol, World } from '../../policy/world.ts';
import type { Backend, PolicyEvent } from '../backend.ts';
import type { PacketFlow } from '../packet.ts';
import { createPlan, type Plan } from '../plan/plan.ts';
import { decidedText, expectedText } from './decided-text.ts';
import { createLab, knowPods, type Lab, OUTSIDE } from './lab.ts';
import { nodeObject, type OpenBackend } from './cluster.ts';
import { ICMP, sendPacket, settled, witness } from './packets.ts';

const PODS = 6;
const FLOWS = 16;
const PORTS = [53, 80, 81, 82, 443, 8080, 65535];

interface Draw {
  readonly world: World;
  readonly flows: readonly { src: number; dst: number; family: 4 | 6; protocol: Protocol; port: number }[];
}

interface End {
  readonly ns: Netns;
  readonly addresses: readonly string[];
}

/** What the kernel is expected to say, and says, of one packet. */
interface Seen {
  arrived: boolean;
  readonly rules: Set<string>;
}

export async function checkAgreement(
  t: TestContext,
  openBackend: OpenBackend,
  numRuns: number,
): Promise<void> {
  const lab = createLab(t);
  for (let i = 0; i < PODS; i++) lab.nodes[i % 2]?.addPod(`p${i + 1}`);
  knowPods(t, lab);
  const plans = lab.nodes.map((node) => createPlan({ node: node.name }));
  const backends = lab.nodes.map((node) => openBackend(t, node));
  for (const [i, node] of lab.nodes.entries()) await start(lab, plans[i]!, backends[i]!, node.name);
  const ends: End[] = [
    ...lab.pods,
    ...lab.nodes.map(({ ns, remote }) => ({ ns, addresses: remote.addresses })),
    { ns: lab.outside, addresses: OUTSIDE },
  ];
  const seen = new Map<string, Seen>();
  for (const end of ends)
    witness(t, end.ns, (flow) => {
      const entry = seen.get(flowKey(flow));
      if (entry) entry.arrived = true;
    });
  for (const [i, backend] of backends.entries())
    t.after(
      backend.events((events) => {
        for (const event of events) seen.get(flowKey(event))?.rules.add(ruleText(event, plans[i]!));
      }),
    );
  let serial = 0;

  await fc.assert(
    fc.asyncProperty(draws(ends.length), async (draw) => {
      const world = settle(lab, draw.world);
      for (const [i, plan] of plans.entries()) {
        plan.setPolicy(compile(world, { onlyNode: lab.nodes[i]?.name ?? '' }));
        await backends[i]?.apply(plan.update());
      }
      seen.clear();
      const decide = createDecider(world);
      const look = createLookup(compile(world));
      const stop = new AbortController();
      const expected = new Map<string, { text: string; want: Seen }>();
      for (const { src, dst, family, protocol, port } of draw.flows) {
        const [from, to] = [ends[src]!, ends[dst]!];
        // The outside sees pods as their node, and an echo has no port that would tell which.
        if (from === to || (protocol === 'ICMP' && to.ns === lab.outside)) continue;
        const packet: PacketFlow = {
          family,
          src: from.addresses[family === 4 ? 0 : 1] ?? '',
          dst: to.addresses[family === 4 ? 0 : 1] ?? '',
          protocol: protocol === 'TCP' ? 6 : protocol === 'UDP' ? 17 : ICMP[family],
          sport: 20_000 + (serial++ % 30_000),
          dport: port,
        };
        const key = flowKey(packet);
        if (expected.has(key)) continue;
        const isIcmp = protocol === 'ICMP';
        const { src: client, dst: server } = packet;
        const decision = isIcmp
          ? // Tables do not tell its types apart.
            look({ src: client, dst: server, protocol })
          : decide({ src: { address: client }, dst: { address: server }, protocol, port });
        const sides = [decision.egress, ...(passes(decision.egress) ? [decision.ingress] : [])];
        const names = ['egress', 'ingress'];
        const rules = sides.flatMap((side, i) =>
          expectedText(side) === '0'
            ? []
            : [`${names[i]} ${passes(side) ? 'allow' : 'deny'} ${expectedText(side)}`],
        );
        expected.set(key, {
          text: `${key} (${family})`,
          want: { arrived: sides.every(passes), rules: new Set(rules) },
        });
        seen.set(key, { arrived: false, rules: new Set() });
        sendPacket(from.ns, packet, stop.signal);
      }
      const complete = (key: string): boolean => {
        const [got, want] = [seen.get(key)!, expected.get(key)!.want];
        return got.arrived === want.arrived && got.rules.size >= want.rules.size;
      };
      await settled(
        () => [...expected.keys()].every(complete),
        () =>
          JSON.stringify(
            [...expected.keys()].filter((key) => !complete(key)).map((key) => view(key, seen, expected)),
          ),
      ).finally(() => stop.abort());
      for (const key of expected.keys()) {
        const { got, want } = view(key, seen, expected);
        assert.deepEqual(got, want, key);
      }
      for (const backend of backends) assert.deepEqual(await backend.verify(), []);
    }),
    { numRuns, endOnFailure: true },
  );
}

/** What a proxy would judge, or ends would have to prove, is denied as long as nobody does. */
const passes = ({ verdict, redirect, auth }: Side): boolean => verdict === 'allow' && !redirect && !auth;

function view(
  key: string,
  seen: ReadonlyMap<string, Seen>,
  expected: ReadonlyMap<string, { text: string; want: Seen }>,
) {
  const plain = (entry: Seen | undefined) => ({
    arrived: entry?.arrived,
    rules: [...(entry?.rules ?? [])].sort(),
  });
  return { key, got: plain(seen.get(key)), want: plain(expected.get(key)?.want) };
}

const draws = (ends: number): fc.Arbitrary<Draw> =>
  fc.record({
    world: fc.oneof(worlds, stagedWorlds, sourcelessWorlds, packetWorlds),
    flows: fc.array(
      fc.record({
        // Pods twice as often as nodes and the outside.
        src: fc.nat(ends - 1),
        dst: fc.nat(ends - 1),
        family: fc.constantFrom<4 | 6>(4, 6),
        protocol: fc.constantFrom<Protocol>('TCP', 'TCP', 'UDP', 'ICMP'),
        port: fc.constantFrom(...PORTS),
      }),
      { minLength: FLOWS, maxLength: FLOWS },
    ),
  });

/** The drawn labels, ports and policies of all languages on the lab's pods and nodes. */
function settle(lab: Lab, world: World): World {
  return {
    ...world,
    pods: world.pods.flatMap((pod, i) => {
      const place = lab.pods[i];
      return place ? [{ ...pod, node: place.node, addresses: place.addresses, hostNetwork: false }] : [];
    }),
    nodes: lab.nodes.map(({ name, remote }, i) => ({
      ...world.nodes[i],
      name,
      addresses: remote.addresses,
    })),
  };
}

/**
 * Source ports are this test's serial numbers. The outside sees those that the node chose, and there, as of echoes
 * everywhere, one packet is sent per pair of ends and draw.
 */
function flowKey({ src, dst, protocol, sport, dport }: Omit<PacketFlow, 'family'>): string {
  if (protocol === 1 || protocol === 58) return `${src} > ${dst} ${protocol}`;
  const isOutside = (OUTSIDE as readonly string[]).includes(dst);
  return `${isOutside ? '' : `${sport} > `}${dst} ${dport} ${protocol}`;
}

const ruleText = ({ direction, verdict, rule }: PolicyEvent, { state }: Plan): string =>
  `${direction} ${verdict} ${decidedText(rule, state)}`;

async function start(lab: Lab, plan: Plan, backend: Backend, name: string): Promise<void> {
  const node = lab.nodes.find((each) => each.name === name)!;
  plan.setSettings(node.settings);
  plan.setLocalPods(node.pods());
  for (const { remote } of lab.nodes) plan.setNode(nodeObject(remote));
  plan.update();
  await backend.prune(plan.state);
}
