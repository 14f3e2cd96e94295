/** The rules for requests of one table: for each class of peers the ports that are handed over, and what is asked there. */
import { createMatcher, resolvePorts } from '../build-table.ts';
import { protocolNumbers } from '../../lib/protocols.ts';
import type { PeerClass } from '../identities.ts';
import { type Isolation, isEnforced } from '../isolation.ts';
import { type NamedPorts, namedPortsText, namesIn } from '../named-ports.ts';
import type { Numbering } from '../numbering.ts';
import type { CompiledRole } from '../role-tables.ts';
import { withoutSources } from '../source-ports.ts';
import type { Pool } from './pool.ts';
import type { ProxyEntry, ProxyTable } from './model.ts';
import { handsOver, type StepClosing, type StepRule, stepsOf } from './steps.ts';
import { openPlaces, stretchesOf } from './stretches.ts';

type Stated = Omit<ProxyEntry, 'identity'>;
type Role = CompiledRole['role'];

/** Undefined: it hands nothing over. */
export function createRoleRules(
  { number, role, peers }: CompiledRole,
  numbering: Numbering,
  pool: Pool,
): ProxyTable | undefined {
  const { direction, rules, audited } = role;
  if (!rules.some((rule) => rule.l7 && rule.verdict === 'allow' && !audited?.has(rule))) return undefined;
  const state = createStater(role, numbering, pool);
  const nobody = state(undefined);
  const entries = [undefined, ...peers()].flatMap((peer) => {
    const own = peer ? state(peer) : nobody;
    if (peer && own === nobody) return [];
    return own.map((each): ProxyEntry => ({ identity: peer?.identity ?? 0, ...each }));
  });
  return entries.length === 0 ? undefined : { table: number, direction, entries };
}

/** The very same array for classes of which the same is said. */
function createStater(
  role: Role,
  numbering: Numbering,
  pool: Pool,
): (peer: PeerClass | undefined) => Stated[] {
  const matching = createMatcher(role.rules);
  const rules = role.rules.map((rule) => withoutSources(rule, 'closed'));
  const setOf = createSetOf(role, numbering, pool);
  const hasNames = role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0);
  const byRules = new Map<string, Stated[]>();
  const byText = new Map<string, Stated[]>();
  return (peer) => {
    const named: NamedPorts = role.direction === 'ingress' ? role.named : (peer?.named ?? new Map());
    const places = matching(peer);
    const key = `${places.join(' ')} # ${hasNames ? namedPortsText(named) : ''}`;
    const known = byRules.get(key);
    if (known) return known;
    const stated = statedOf(
      places.map((place) => ({ place, ports: resolvePorts(rules[place]!.ports, named) })),
      setOf,
    );
    const text = JSON.stringify(stated);
    const same = byText.get(text) ?? stated;
    byText.set(text, same);
    byRules.set(key, same);
    return same;
  };
}

type SetOf = (places: readonly number[]) => string | undefined;

/** What is handed over, by protocol and port. */
function statedOf(rules: Parameters<typeof stretchesOf>[0], setOf: SetOf): Stated[] {
  const stated: Stated[] = [];
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const number = protocolNumbers[protocol];
    for (const { first, last, places } of stretchesOf(rules, protocol)) {
      const set = setOf(places);
      if (set === undefined) continue;
      const before = stated.at(-1);
      if (before?.protocol === number && before.set === set && before.ports![1] === first - 1)
        stated[stated.length - 1] = { ...before, ports: [before.ports![0], last] };
      else stated.push({ protocol: number, ports: [first, last], set });
    }
  }
  const rest = setOf(openPlaces(rules));
  return rest === undefined ? stated : [...stated, { protocol: null, ports: null, set: rest }];
}

/** Undefined: the connection is decided without its requests. */
function createSetOf(
  { direction, isolation, rules, audited, policies }: Role,
  numbering: Numbering,
  pool: Pool,
): SetOf {
  const steps: StepRule[] = rules.map((each) => {
    const rule = withoutSources(each, 'closed');
    const { ref, tier, priority, verdict, l7, onward, auth } = rule;
    const own = {
      rule: numbering.rule(ref),
      ...(l7 ? { requests: pool.requests(l7) } : {}),
      ...(onward ? { onward } : {}),
      ...(auth ? { auth } : {}),
    };
    return { tier, priority, verdict, own };
  });
  const closings = ({ tiers }: Isolation): StepClosing[] =>
    tiers.map(({ tier, policies: by }) => ({ tier, rule: numbering.defaultDeny(direction, by) }));
  const [ends, auditEnds] = [closings(isolation.enforced), closings(isolation.audited)];
  const isAudited = !policies.every(isEnforced);
  return (places) => {
    const own = audited ? places.filter((place) => !audited.has(rules[place]!)) : places;
    const enforced = stepsOf(steps, own, ends);
    if (!handsOver(enforced)) return undefined;
    const audit = isAudited ? stepsOf(steps, places, auditEnds) : enforced;
    const isSame = JSON.stringify(audit) === JSON.stringify(enforced);
    return pool.set({ enforced, ...(isSame ? {} : { audit }) });
  };
}
