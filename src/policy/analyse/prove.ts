/** Assertions about who may reach whom: proved for every pair, address and port, or refuted by one flow. */
import { type Family, parseAddress } from '../../lib/ip.ts';
import { createDecider } from '../decide.ts';
import type { Decision, Direction } from '../decision.ts';
import { type Flow, type FlowEnd, podKey } from '../world.ts';
import type { Estate, Workload } from './estate.ts';
import { addressText, createExternals, type Span } from './externals.ts';
import { createPortSets, firstPort, type PortSet, type PortSets } from './port-set.ts';
import { createSides, type Sides, type Unit } from './sides.ts';
import { type Everyone, isNobody, meet, type Who, whoIs } from './who.ts';

export interface Assertion {
  readonly from: Who;
  readonly to: Who;
  /** `only`: nothing but these ports may pass. `never`: none of them may. `always`: all of them must. */
  readonly must: 'only' | 'never' | 'always';
  readonly ports: (sets: PortSets) => PortSet;
}

export type Proof =
  | { readonly holds: true; readonly pairs: number }
  | { readonly holds: false; readonly counterexample: Counterexample }
  /** One of the sides is nobody that is known. */
  | { readonly holds: false; readonly nobody: 'from' | 'to' };

export interface Counterexample {
  readonly flow: Flow;
  readonly src: Workload | undefined;
  readonly dst: Workload | undefined;
  readonly decision: Decision;
}

/** Both families. A workload and itself is no pair, nor are two addresses outside. @throws HeddleError `BadCidr` */
export function createProver(estate: Estate): (assertion: Assertion) => Proof {
  const sets = createPortSets();
  const decide = createDecider(estate.world);
  const byFamily = ([4, 6] as const).map((family) => {
    const sides = createSides(estate, { sets, family });
    return { family, sides, externals: createExternals(sides) };
  });
  return (assertion) => {
    const ports = assertion.ports(sets);
    const wrong = (set: PortSet): PortSet => {
      if (assertion.must === 'only') return sets.minus(set, ports);
      return assertion.must === 'never' ? sets.and(set, ports) : sets.minus(ports, set);
    };
    let pairs = 0;
    const nobody = nobodyIn(estate, assertion);
    if (nobody) return { holds: false, nobody };
    for (const world of byFamily) {
      const from = whoIs(estate, assertion.from, world.family);
      const to = whoIs(estate, assertion.to, world.family);
      for (const pair of everyPair(world, from, to)) {
        pairs++;
        const port = firstPort(wrong(pair.set));
        if (!port) continue;
        const flow: Flow = { src: pair.src, dst: pair.dst, ...port, family: world.family };
        return {
          holds: false,
          counterexample: { flow, src: pair.from, dst: pair.to, decision: decide(flow) },
        };
      }
    }
    return { holds: true, pairs };
  };
}

function nobodyIn(estate: Estate, { from, to }: Assertion): 'from' | 'to' | undefined {
  const missing = (who: Who): boolean =>
    ([4, 6] as const).every((family) => isNobody(whoIs(estate, who, family)));
  if (missing(from)) return 'from';
  return missing(to) ? 'to' : undefined;
}

interface Pair {
  readonly src: FlowEnd;
  readonly dst: FlowEnd;
  readonly from: Workload | undefined;
  readonly to: Workload | undefined;
  readonly set: PortSet;
}

/**
 * An address in the span that is no pod's and no node's; undefined: all of them are. 203.0.113.9 and 2001:db8::9 are
 * for examples (RFC 5737, RFC 3849); else it is the first.
 */
function exampleIn({ first, last }: Span, { sides, family }: FamilyWorld): string | undefined {
  const { scene } = sides;
  const isOutside = (text: string) => scene.podAt(text) === undefined && scene.nodesWith(text).length === 0;
  const example = parseAddress(family === 4 ? '203.0.113.9' : '2001:db8::9').value;
  for (let value = first <= example && example <= last ? example : first; value <= last; value++) {
    const text = addressText(family, value);
    if (isOutside(text)) return text;
  }
  return undefined;
}

interface FamilyWorld {
  readonly family: Family;
  readonly sides: Sides;
  readonly externals: ReturnType<typeof createExternals>;
}

const endOf = ({ pod }: Unit): FlowEnd => ({ pod: podKey(pod) });

function* everyPair(world: FamilyWorld, from: Everyone, to: Everyone): Generator<Pair> {
  for (const src of from.workloads)
    for (const dst of to.workloads) if (src !== dst) yield* podPairs(world, src, dst);
  for (const dst of to.workloads)
    for (const { unit, address, set } of outsidePairs(world, dst, 'ingress', from.spans))
      yield { src: { address }, dst: endOf(unit), from: undefined, to: dst, set };
  for (const src of from.workloads)
    for (const { unit, address, set } of outsidePairs(world, src, 'egress', to.spans))
      yield { src: endOf(unit), dst: { address }, from: src, to: undefined, set };
}

function* podPairs({ sides }: FamilyWorld, from: Workload, to: Workload): Generator<Pair> {
  for (const a of sides.units(from))
    for (const b of sides.units(to))
      yield { src: endOf(a), dst: endOf(b), from, to, set: sides.between(a, b) };
}

function* outsidePairs(
  world: FamilyWorld,
  workload: Workload,
  direction: Direction,
  others: readonly Span[],
): Generator<{ unit: Unit; address: string; set: PortSet }> {
  for (const unit of others.length === 0 ? [] : world.sides.units(workload))
    for (const span of world.externals(unit, direction))
      for (const common of meet(span, others)) {
        const address = exampleIn(common, world);
        if (address !== undefined) yield { unit, address, set: span.set };
      }
}
