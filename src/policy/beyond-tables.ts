/**
 * What rules ask for that tables do not say. Each fails closed, and is told. (Of requests and proofs the verdicts
 * `redirect` and `auth-required` tell.)
 */
import type { Policy, PortMatch, Rule } from './model.ts';
import type { PolicyProblem } from './tables.ts';

/** Of a policy that is enforced; one for each rule and thing. */
export function beyondTables({ ref, stage, rules }: Policy): PolicyProblem[] {
  if (stage !== 'enforce') return [];
  const { kind, namespace, name, part } = ref;
  const policy = { kind, namespace, name, ...(part === undefined ? {} : { part }) };
  return rules.flatMap((rule) =>
    messagesOf(rule).map((message) => ({ policy, path: rule.ref.path, message })),
  );
}

function messagesOf(rule: Rule): string[] {
  const { log, sourcePorts, ports } = rule;
  return [
    ...(log ? ['only what decides is logged: this rule is told by explain, and nowhere else'] : []),
    ...(sourcePorts ? [`ports of senders are not told apart yet: ${closedText(rule)}`] : []),
    ...((ports ?? []).some(hasType)
      ? ['types of ICMP are not told apart yet: ICMP is denied where rules differ by type']
      : []),
  ];
}

const closedText = ({ verdict, auth }: Rule): string =>
  verdict === 'allow' && !auth ? 'the rule allows nothing' : 'the rule denies from every port';

const hasType = (port: PortMatch): boolean =>
  'protocol' in port && port.protocol === 'ICMP' && 'type' in port && port.type !== undefined;
