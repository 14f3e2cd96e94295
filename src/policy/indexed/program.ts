/**
 * The rules of a role as one array of numbers, so that a decision reads little memory. Ports are cut where those of a
 * rule begin or end; for what is between two cuts there is a list of the rules that may decide there, in their order,
 * with the ends of tiers between them.
 *
 * code: how many cuts, the cuts, for each where its list is; then the lists: where it ends, and steps of two numbers,
 * what is done (and by which answer) and for which set of peers. The first list has every rule.
 */
import type { PolicyRef } from '../decision.ts';
import type { Closing } from '../isolation.ts';
import type { Rule } from '../model.ts';
import type { NamedPorts } from '../named-ports.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { PortProtocol, Protocol } from '../world.ts';
import { EVERYBODY } from './peer-sets.ts';
import { chartPorts } from './port-chart.ts';

/** A rule made ready to ask. */
export interface Asked {
  readonly rule: Rule;
  readonly set: number;
  readonly hasPort: (flow: ResolvedFlow) => boolean;
}

export interface Program {
  readonly code: Int32Array;
  /** By answer. A rule for requests has three: it lets pass, it leaves it to the requests, it refuses. */
  readonly asked: readonly Asked[];
  /** By answer that is behind those of rules: a tier that closes. */
  readonly closedBy: readonly (readonly PolicyRef[])[];
  /** Steps of a long list by set; those for everybody have the ends of tiers among them. */
  readonly bySet: ReadonlyMap<number, ReadonlyMap<number, readonly number[]>>;
}

export const REDIRECTED = 1;
export const REFUSED = 2;

/** What a step does, in its lowest bits. */
export const STEP = { allow: 0, deny: 1, pass: 2, requests: 3, close: 4 } as const;
export const WHAT = 7;
/** Whether the rule is for the port has to be asked. */
export const ASK = 8;
/** Its answer is above. */
export const ANSWER = 4;
/** Of the end of a tier that does not close. */
export const OPEN = 2 ** 27 - 1;

/** Of a list of more steps, those for the other end are looked up. */
const FEW = 48;

const PROTOCOLS: readonly PortProtocol[] = ['TCP', 'UDP', 'SCTP'];
const SPAN = 65_536;

/**
 * @param listed in deciding order; none of them only logs or wants proof of anybody
 * @param closings by tier, the lowest first
 * @param named what names of ports mean, where that is known: at whom the rules are for
 */
export function createProgram(
  listed: readonly Asked[],
  closings: readonly Closing[],
  named: NamedPorts | undefined,
): Program {
  const asked: Asked[] = [];
  const answers = listed.map((each) => {
    const copies = each.rule.l7 ? [each, each, each] : [each];
    return asked.push(...copies) - copies.length;
  });
  const isAsked = listed.map(({ rule }) => !isToldByNumber(rule, named));
  const stepsOf = (places: readonly number[], isEachAsked: boolean): number[] => {
    const steps: number[] = [];
    let next = 0;
    for (const tier of tiersOf(places, listed, closings)) {
      let hasPass = false;
      for (; next < places.length && listed[places[next]!]!.rule.tier === tier; next++) {
        const place = places[next]!;
        const { rule, set } = listed[place]!;
        const ask = isEachAsked || isAsked[place] ? ASK : 0;
        hasPass ||= rule.verdict === 'pass';
        steps.push((answers[place]! << ANSWER) | ask | STEP[rule.l7 ? 'requests' : rule.verdict], set);
      }
      const closing = closings.findIndex((each) => each.tier === tier);
      const answer = closing < 0 ? OPEN : asked.length + closing;
      if (closing >= 0 || hasPass) steps.push((answer << ANSWER) | STEP.close, EVERYBODY);
    }
    return steps;
  };
  const chart = PROTOCOLS.map((protocol) => chartPorts(listed, isAsked, protocol, named));
  // One that takes too much room is left out: every rule is asked then.
  const cuts = chart.flatMap((own, i) => (own ?? [{ first: 0 }]).map(({ first }) => i * SPAN + first));
  const lists = createLists(1 + 2 * cuts.length);
  const everything = lists.add(stepsOf([...listed.keys()], true));
  const starts = chart.flatMap((own) =>
    own ? own.map(({ places }) => lists.add(stepsOf(places, false))) : [everything],
  );
  const code = Int32Array.from([cuts.length, ...cuts, ...starts, ...lists.code]);
  return {
    code,
    asked,
    closedBy: closings.map(({ policies }) => policies),
    bySet: longLists(code, lists.all),
  };
}

const isToldByNumber = ({ ports, sourcePorts }: Rule, named: NamedPorts | undefined): boolean =>
  sourcePorts === undefined && (named !== undefined || !ports?.some((port) => 'name' in port));

/** Of these rules, and of what closes; ascending. */
function tiersOf(
  places: readonly number[],
  listed: readonly Asked[],
  closings: readonly Closing[],
): readonly number[] {
  const tiers = new Set(closings.map(({ tier }) => tier));
  for (const place of places) tiers.add(listed[place]!.rule.tier);
  return [...tiers].sort((a, b) => a - b);
}

/** Equal lists are one. @param from where the first is */
function createLists(from: number) {
  const known = new Map<string, number>();
  const code: number[] = [];
  return {
    code,
    all: known,
    add(steps: readonly number[]): number {
      const text = steps.join(' ');
      const start = known.get(text) ?? from + code.length;
      if (!known.has(text)) code.push(start + 1 + steps.length, ...steps);
      known.set(text, start);
      return start;
    },
  };
}

function longLists(code: Int32Array, lists: ReadonlyMap<string, number>): Program['bySet'] {
  const long = new Map<number, ReadonlyMap<number, readonly number[]>>();
  for (const list of lists.values()) {
    const steps = (code[list]! - list - 1) / 2;
    if (steps <= FEW) continue;
    const places = Array.from({ length: steps }, (_, i) => list + 1 + 2 * i);
    long.set(
      list,
      Map.groupBy(places, (at) => code[at + 1]!),
    );
  }
  return long;
}

/** Where the list of a port begins: the first, of a protocol without. */
export function listOf(code: Int32Array, protocol: Protocol, port: number | undefined): number {
  const count = code[0]!;
  if (port === undefined) return 1 + 2 * count;
  const at = (protocol === 'TCP' ? 0 : protocol === 'UDP' ? SPAN : 2 * SPAN) + port;
  let low = 1;
  let high = count;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (code[middle]! <= at) low = middle;
    else high = middle - 1;
  }
  return code[low + count]!;
}
