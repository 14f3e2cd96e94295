/** Where the loaded programs say another thing than the plan. Pure. */
import { formatHostPort } from '../../lib/ip.ts';
import { hex } from '../dump/source.ts';
import type { DryDifference, DryHop, DryWay, Trace, TraceBranch, TraceStep, TraceVerdict } from './result.ts';

const words: Readonly<Record<TraceVerdict, string>> = {
  allow: 'allowed',
  deny: 'denied',
  drop: 'dropped',
  refuse: 'refused',
};

/** Node that translates it, or would. */
export const entryOf = ({ steps }: Trace): string | undefined =>
  steps.findLast(({ stage }) => stage === 'service')?.at;

/** Of a way of which the kernel knows a connection that the other end began, nothing is compared. */
export function compareWay(traced: Trace, way: DryWay): DryDifference[] {
  const last = way.hops.at(-1);
  const [first] = way.hops;
  if (!first || !last) return [];
  const programs = way.hops.filter(({ attached }) => !attached).map(detached);
  if (way.hops.some(({ known }) => known === 'answered')) return programs;
  return [...programs, ...compareRun(traced, way, first, last)];
}

const detached = ({ node, program, link }: DryHop): DryDifference => ({
  node,
  what: 'program',
  plan: `${program} runs at ${link}`,
  kernel: 'another program, or none, is attached there',
});

function compareRun(traced: Trace, way: DryWay, first: DryHop, last: DryHop): DryDifference[] {
  const { branches, steps } = traced;
  // On to another node, which is not asked: what this one says of policy is all there is.
  if (last.program === 'from_pod' && (entryOf(traced) ?? last.node) !== last.node)
    return [
      ...compareVerdict(first, 'allow', 'the plan goes on to another node', undefined),
      ...compareRule(first, 'egress', steps),
    ];
  if (branches.length === 0) return isOpen(way) ? [] : compareEnded(traced, way, last);
  const branch = branches.find(({ dst, dport }) => dst === last.dst && dport === last.dport);
  if (branch) return compareBranch(traced, branch, way, first, last);
  if (way.verdict === 'drop' || way.verdict === 'refuse')
    return compareVerdict(last, oneOf(branches.map(({ verdict }) => verdict)), '', undefined);
  const expected = branches.map(({ dst, dport }) => end(dst, dport)).join(' or ');
  return [{ node: first.node, what: 'destination', plan: expected, kernel: end(last.dst, last.dport) }];
}

const oneOf = (verdicts: readonly TraceVerdict[]): TraceVerdict => verdicts[0] ?? 'allow';

function compareEnded({ verdict, steps }: Trace, way: DryWay, last: DryHop): DryDifference[] {
  const stop = steps.find((step) => step.verdict !== 'pass');
  const different = compareVerdict(
    last,
    verdict === 'mixed' ? 'allow' : verdict,
    stop?.text ?? '',
    undefined,
  );
  return different.length > 0 || way.verdict !== 'deny' ? different : compareRule(last, 'egress', steps);
}

/** What comes behind the last program that was asked may be what the plan says. */
const isOpen = ({ complete, verdict }: DryWay): boolean => !complete && verdict === 'allow';

function compareBranch(
  { steps }: Trace,
  branch: TraceBranch,
  way: DryWay,
  first: DryHop,
  last: DryHop,
): DryDifference[] {
  const stop = branch.steps.find(({ verdict }) => verdict !== 'pass');
  const verdict = isOpen(way) ? [] : compareVerdict(last, branch.verdict, stop?.text ?? '', last);
  if (verdict.length > 0) return verdict;
  return [
    ...(first.program === 'from_pod' ? compareRule(first, 'egress', [...steps, ...branch.steps]) : []),
    ...(isOpen(way) ? [] : compareRule(last, 'ingress', branch.steps)),
    ...(way.verdict === 'allow' && !isOpen(way) ? compareDelivery(branch, last) : []),
  ];
}

function compareVerdict(
  hop: DryHop,
  planned: TraceVerdict,
  why: string,
  by: DryHop | undefined,
): DryDifference[] {
  if (hop.verdict === planned) return [];
  const reason =
    hop.reason ?? (hop.direction === 'egress' ? hop.egress : hop.direction ? hop.ingress : by?.ingress);
  return [
    {
      node: hop.node,
      what: 'verdict',
      plan: because(words[planned], why),
      kernel: because(words[hop.verdict], reason ?? ''),
    },
  ];
}

const because = (verdict: string, why: string): string => (why === '' ? verdict : `${verdict}: ${why}`);

/** Policy is not asked about what is dropped before, nor of ingress after egress has denied. */
function compareRule(
  hop: DryHop,
  direction: 'egress' | 'ingress',
  steps: readonly TraceStep[],
): DryDifference[] {
  const isAsked =
    hop.verdict === 'allow' ||
    (hop.verdict === 'deny' && !(direction === 'ingress' && hop.direction === 'egress'));
  const step = steps.find((each) => each.direction === direction);
  const rule = direction === 'egress' ? hop.egressRule : hop.ingressRule;
  const audit = direction === 'egress' ? hop.egressAudit : hop.ingressAudit;
  if (!isAsked || !step || ((step.rule ?? 0) === rule && step.audit?.rule === audit)) return [];
  const text = direction === 'egress' ? hop.egress : hop.ingress;
  const audited = step.audit ? `; audited: ${step.audit.verdict} by ${step.audit.text}` : '';
  return [
    {
      node: hop.node,
      what: 'rule',
      plan: `${direction} by ${ruleText(step.rule ?? 0, step.text)}${audited}`,
      kernel: `${direction} by ${ruleText(rule, text)}`,
    },
  ];
}

const ruleText = (rule: number, text: string | null): string =>
  rule === 0 ? 'no rule' : `${text ?? 'a rule that the plan does not have'} (${hex(rule)})`;

function compareDelivery({ name, node, seenAs, steps }: TraceBranch, last: DryHop): DryDifference[] {
  const isPod = steps.some(({ stage }) => stage === 'deliver');
  const out: DryDifference[] = [];
  const differ = (what: DryDifference['what'], plan: string, kernel: string): void => {
    if (plan !== kernel) out.push({ node: last.node, what, plan, kernel });
  };
  if (last.next === 'pod') {
    differ(
      'delivery',
      `${isPod ? (name ?? '') : 'no pod'} of ${node ?? 'nowhere'}`,
      `${last.to ?? ''} of ${last.node}`,
    );
    differ('client', `seen as ${seenAs}`, `seen as ${last.src}`);
  } else if (isPod) differ('delivery', `${name ?? ''} of ${node ?? ''}`, 'the stack of the node');
  return out;
}

const end = (address: string, port: number): string => (port === 0 ? address : formatHostPort(address, port));
