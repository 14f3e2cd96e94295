/** What rules ask for that no data path does yet. Each fails closed, and is told. */
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
  const { l7, auth, log, sourcePorts, ports } = rule;
  return [
    ...(l7 ? ['nothing judges requests yet: the connections that they come on are denied'] : []),
    ...(auth ? ['ends cannot prove who they are yet: what has to be proved is denied'] : []),
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
