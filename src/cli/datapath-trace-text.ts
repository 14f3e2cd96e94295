/** A trace in words: by the plans, then by the loaded programs, then where the two differ. */
import type { Dry, DryHop, DryWay, Trace, TraceStep } from '../datapath/trace/result.ts';
import { formatHostPort } from '../lib/ip.ts';

const verdictWords: Readonly<Record<Trace['verdict'], string>> = {
  allow: 'allowed',
  deny: 'denied',
  drop: 'dropped',
  refuse: 'refused',
  mixed: 'depends on the backend',
};

export function traceText({ trace, dry }: { readonly trace: Trace; readonly dry: Dry }): string {
  return `${[...planLines(trace), ...dryLines(dry)].join('\n')}\n`;
}

const host = (address: string, port: number) => (port === 0 ? address : formatHostPort(address, port));

function planLines({ packet, branches, verdict, steps }: Trace): string[] {
  const lines = [
    `${packet.protocol} ${host(packet.src, packet.sport)} → ${host(packet.dst, packet.dport)}: ${verdictWords[verdict]}`,
    ...steps.map(stepLine),
  ];
  for (const branch of branches) {
    const to = branch.name ?? 'outside';
    const share = branches.length > 1 ? `, ${Math.round(branch.share * 1000) / 10}% of new connections` : '';
    if (branches.length > 1 || branch.dst !== packet.dst || branch.dport !== packet.dport)
      lines.push('', `→ ${host(branch.dst, branch.dport)} ${to}${share}: ${verdictWords[branch.verdict]}`);
    lines.push(...branch.steps.map(stepLine));
  }
  return lines;
}

const stepLine = ({ at, stage, verdict, direction, text, audit }: TraceStep): string =>
  `${verdict === 'pass' ? '  ' : '✗ '}${at.padEnd(10)} ${(direction ?? stage).padEnd(9)} ${text}${
    audit ? `; audited: ${audit.verdict} by ${audit.text}` : ''
  }`;

function dryLines({ byPlan, ways, differences }: Dry): string[] {
  const lines = byPlan.flatMap(({ node, backend }) => [
    '',
    `the data path of ${node} (${backend}) cannot run a packet: for ${node} this is what the plan says, not its kernel`,
  ]);
  if (ways.length > 0) lines.push('', 'run through the loaded programs:', ...ways.flatMap(wayLines));
  else if (byPlan.length === 0) lines.push('', 'no loaded program was asked: this is what the plan says');
  if (differences.length === 0)
    return ways.length === 0 ? lines : [...lines, '', 'the loaded programs say what the plan says'];
  lines.push('', '✗ THE KERNEL DIFFERS FROM THE PLAN');
  for (const { node, what, plan, kernel } of differences)
    lines.push(`✗ ${node.padEnd(10)} ${what}`, `    plan    ${plan}`, `    kernel  ${kernel}`);
  return [...lines, '  "heddle datapath verify" names the entries; restarting the agent mends them'];
}

const wayLines = ({ hops, verdict, complete }: DryWay): string[] => [
  `→ ${host(hops.at(-1)?.dst ?? '', hops.at(-1)?.dport ?? 0)}: ${verdictWords[verdict]}${complete || verdict !== 'allow' ? '' : ' so far; what comes then is by the plan'}`,
  ...hops.map(hopLine),
];

function hopLine(hop: DryHop): string {
  const { node, program, link, verdict, known } = hop;
  const words = [
    known === undefined
      ? ''
      : `a connection of these ends is ${known === 'begun' ? 'there' : 'there, begun by the other end'}`,
    hop.egress === null ? '' : `egress ${hop.egress}`,
    hop.ingress === null ? '' : `ingress ${hop.ingress}`,
    whereTo(hop),
  ].filter(Boolean);
  return `${verdict === 'allow' ? '  ' : '✗ '}${node.padEnd(10)} ${program} at ${link}: ${words.join('; ')}`;
}

function whereTo({ verdict, next, to, reason, src }: DryHop): string {
  if (verdict === 'deny') return 'denied';
  if (verdict === 'refuse') return 'refused: the sender is told';
  if (verdict === 'drop') return `dropped: ${reason ?? ''}`;
  if (next === 'pod') return `to pod ${to ?? ''}, seen as ${src}`;
  return next === 'tunnel' ? `to another node, ${to ?? ''}` : 'to the stack of the node';
}
