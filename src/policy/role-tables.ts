/** Tables of roles and words of their rules, made again only when what goes into them has changed. */
import { buildTable, type Role } from './build-table.ts';
import { ruleText } from './decision.ts';
import type { Identities } from './identities.ts';
import { defaultDenyText, type Numbering } from './numbering.ts';
import type { PolicyTable, RuleInfo } from './tables.ts';

interface Built {
  readonly table: PolicyTable;
  readonly identities: Identities;
  readonly epoch: number;
}

interface Described {
  readonly rules: readonly (readonly [number, RuleInfo])[];
  readonly epoch: number;
}

export function createTables() {
  const built = new WeakMap<Role, Built>();
  const described = new WeakMap<Role, Described>();

  function table(number: number, role: Role, identities: Identities, numbering: Numbering): PolicyTable {
    const known = built.get(role);
    const epoch = numbering.epoch();
    if (known?.identities === identities && known.epoch === epoch && known.table.number === number)
      return known.table;
    const made = buildTable(number, role, identities, numbering);
    built.set(role, { table: made, identities, epoch });
    return made;
  }

  function describe(role: Role, numbering: Numbering): Described['rules'] {
    const epoch = numbering.epoch();
    const known = described.get(role);
    if (known?.epoch === epoch) return known.rules;
    const rules = describeRules(role, numbering);
    described.set(role, { rules, epoch });
    return rules;
  }

  return {
    build: (roles: ReadonlyMap<number, Role>, identities: Identities, numbering: Numbering) =>
      new Map([...roles].map(([number, role]) => [number, table(number, role, identities, numbering)])),
    describe: (roles: Iterable<Role>, numbering: Numbering): Map<number, RuleInfo> =>
      new Map([...roles].flatMap((role) => describe(role, numbering))),
  };
}

function describeRules(role: Role, numbering: Numbering): [number, RuleInfo][] {
  const { direction, policies, rules } = role;
  const refs = policies.map((policy) => policy.ref);
  const number = numbering.defaultDeny(direction, refs);
  const text = defaultDenyText(direction, refs);
  return [
    [number, { number, verdict: 'deny', direction, origin: { default: refs }, text }],
    ...rules.map(({ ref, verdict }): [number, RuleInfo] => {
      const own = numbering.rule(ref);
      return [own, { number: own, verdict, direction, origin: ref, text: ruleText(ref) }];
    }),
  ];
}
