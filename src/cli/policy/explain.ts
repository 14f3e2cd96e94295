/** `heddle policy explain`: one flow's verdict, the rule behind it with file and line, and what would turn it. */
import type { Command } from 'commander';
import type { Family } from '../../lib/ip.ts';
import { subjectPath } from '../../policy/analyse/lint.ts';
import type { Direction, PolicyRef, RuleRef, Side } from '../../policy/decision.ts';
import { policyText } from '../../policy/decision.ts';
import { explain, type Explanation, type NearMiss } from '../../policy/explain.ts';
import type { MeshSide } from '../../policy/mesh/side.ts';
import type { MeshNearMiss } from '../../policy/mesh/words.ts';
import { smallestChange } from '../../policy/change/smallest-change.ts';
import type { Flow } from '../../policy/world.ts';
import type { CliDeps } from '../deps.ts';
import { collect, outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import { changeOutputOf, changeText } from './explain-change.ts';
import { findEnd, portOf, protocolOf } from './ends.ts';
import type { LoadedEstate } from './read-estate.ts';
import { requestOf } from './request.ts';

interface ExplainFlags extends EstateFlags {
  from: string;
  to: string;
  port?: string;
  protocol: string;
  ipv6?: boolean;
  http?: string;
  header?: string[];
  claim?: string[];
}

const examples = `
Examples:
  heddle policy explain -f k8s/ --from shop/frontend --to shop/cart --port 8080
  heddle policy explain -f k8s/ --from 203.0.113.9 --to shop/frontend --port http
  heddle policy explain --from shop/cart --to 10.1.2.3 --port 53 --protocol udp -o json
  heddle policy explain -f k8s/ --from shop/web --to pay/api --port 8080 --http 'GET /bills' -H 'x-team: blue' --claim sub=ann

0 if the flow is allowed, 1 if it is denied. Services are named by the pods behind them: policy sees no ClusterIP.
Without --http the connection is asked about: it passes if some request on it may.`;

export function addExplain(policy: Command, deps: CliDeps): void {
  withEstate(
    policy.command('explain').description('one flow: its verdict, by which rule, and what would turn it'),
  )
    .requiredOption('--from <end>', 'a workload, a pod or an address')
    .requiredOption('--to <end>', 'a workload, a pod or an address')
    .option('--port <port>', 'of the destination: a number, or its name there')
    .option('--protocol <name>', 'tcp, udp, sctp or icmp', 'tcp')
    .option('--http <request>', 'a method and a path: GET /x')
    .option('-H, --header <header>', 'of the request, "Name: value"; repeatable', collect)
    .option('--claim <name=value>', "of the request's verified token; repeatable", collect)
    .option('--ipv6', 'between pods that have both families')
    .option('-o, --output <format>', 'text, json or yaml (docs/schemas/policy-explain.json)')
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ExplainFlags>();
      const format = outputFormat(flags.output, ['text', 'json', 'yaml']) ?? 'text';
      const loaded = await estateOf(flags, deps);
      const flow = flowOf(loaded, flags);
      const explanation = explain(loaded.estate.world, flow);
      const change = smallestChange(loaded.estate, flow);
      const output = {
        ...explainOutput(explanation, flags, flow, loaded),
        ...changeOutputOf(change, loaded),
      };
      if (format !== 'text') await printValue(output, format, deps);
      else deps.stdout.write(explainText(explanation, loaded) + (await changeText(change, loaded)));
      process.exitCode = output.verdict === 'allow' ? answers.yes : answers.no;
    });
}

function flowOf({ estate }: LoadedEstate, flags: ExplainFlags): Flow {
  const namespace = flags.namespace ?? 'default';
  const src = findEnd(estate, '--from', flags.from, namespace);
  const dst = findEnd(estate, '--to', flags.to, namespace);
  const protocol = protocolOf(flags.protocol);
  const family: { family?: Family } = flags.ipv6 ? { family: 6 } : {};
  const port = protocol === 'ICMP' ? undefined : portOf(flags.port ?? '', protocol, dst.pod);
  const request = requestOf({ http: flags.http, headers: flags.header, claims: flags.claim }, protocol);
  return { src: src.end, dst: dst.end, protocol, port, request, ...family };
}

interface PlacedPolicy extends PolicyRef {
  readonly path: string;
  readonly file: string | null;
  readonly line: number | null;
}

interface SideOutput {
  readonly verdict: 'allow' | 'deny';
  readonly reason: string;
  readonly rule: PlacedPolicy | null;
  readonly isolatedBy: readonly PlacedPolicy[];
  /** Of a default deny: those of them whose tier it is. */
  readonly closedBy: readonly PlacedPolicy[];
  readonly nearMisses: readonly (PlacedPolicy & Pick<NearMiss, 'verdict' | 'missed' | 'expected'>)[];
}

export interface ExplainOutput {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
  readonly verdict: 'allow' | 'deny';
  /** If what is audited were enforced. */
  readonly audit: 'allow' | 'deny';
  readonly egress: SideOutput;
  readonly ingress: SideOutput;
  /** Null where nothing is said of the mesh. */
  readonly mesh: MeshOutput | null;
}

interface MeshOutput {
  readonly verdict: 'allow' | 'deny';
  readonly reason: string;
  readonly rule: PlacedPolicy | null;
  /** Policies that allow, none of them this. */
  readonly closedBy: readonly PlacedPolicy[];
  readonly tls: string | null;
  /** It passes as a connection, and some requests on it may not. */
  readonly byRequest: boolean;
  readonly asks: readonly (PlacedPolicy & { readonly provider: string })[];
  readonly logged: readonly PlacedPolicy[];
  readonly nearMisses: readonly (PlacedPolicy & Pick<MeshNearMiss, 'missed' | 'expected'>)[];
}

function placed(ref: PolicyRef, path: string, { placeOf }: LoadedEstate): PlacedPolicy {
  const { kind, namespace, name } = ref;
  const place = placeOf(ref, path);
  return { kind, namespace, name, path, file: place?.file ?? null, line: place?.line ?? null };
}

export function explainOutput(
  { decision, nearMisses, meshNearMisses }: Explanation,
  { from, to }: Pick<ExplainFlags, 'from' | 'to'>,
  { protocol, port }: Flow,
  loaded: LoadedEstate,
): ExplainOutput {
  const ruleOf = (rule: RuleRef) => placed(rule, rule.path, loaded);
  const sideOf = (direction: Direction, side: Side): SideOutput => ({
    verdict: side.verdict,
    reason: side.reason,
    rule: side.rule ? ruleOf(side.rule) : null,
    isolatedBy: side.isolatedBy.map((ref) => placed(ref, subjectPath(ref), loaded)),
    closedBy: (side.closedBy ?? []).map((ref) => placed(ref, subjectPath(ref), loaded)),
    nearMisses: nearMisses[direction].map(({ rule, verdict, missed, expected }) => ({
      ...ruleOf(rule),
      verdict,
      missed,
      expected,
    })),
  });
  return {
    from,
    to,
    protocol,
    port: port ?? null,
    verdict: decision.verdict,
    audit: decision.audit,
    egress: sideOf('egress', decision.egress),
    ingress: sideOf('ingress', decision.ingress),
    mesh: decision.mesh ? meshOutput(decision.mesh, meshNearMisses, loaded) : null,
  };
}

function meshOutput(side: MeshSide, near: readonly MeshNearMiss[], loaded: LoadedEstate): MeshOutput {
  const ruleOf = (rule: RuleRef) => placed(rule, rule.path, loaded);
  const { verdict, reason, rule, closedBy = [], tls, redirect, asks = [], logged = [] } = side;
  return {
    verdict,
    reason,
    rule: rule ? ruleOf(rule) : null,
    closedBy: closedBy.map((ref) => placed(ref, subjectPath(ref), loaded)),
    tls: tls?.mode ?? null,
    byRequest: redirect ?? false,
    asks: asks.map((each) => ({ ...ruleOf(each.rule), provider: each.provider })),
    logged: logged.map(ruleOf),
    nearMisses: near.map(({ rule: each, missed, expected }) => ({ ...ruleOf(each), missed, expected })),
  };
}

/** The words of the explanation, each rule with the place where it is written. */
export function explainText(explanation: Explanation, { placeOf }: LoadedEstate): string {
  const { decision, nearMisses, meshNearMisses, lines } = explanation;
  const places = new Set<string>();
  const note = (ref: PolicyRef, path: string) => {
    const place = placeOf(ref, path);
    if (place) places.add(`  ${place.file}:${place.line}: ${policyText(ref)} ${path}`);
  };
  for (const direction of ['egress', 'ingress'] as const) {
    const side = decision[direction];
    if (side.rule) note(side.rule, side.rule.path);
    for (const ref of side.closedBy ?? []) note(ref, subjectPath(ref));
    for (const { rule } of nearMisses[direction]) note(rule, rule.path);
    for (const rule of side.logged ?? []) note(rule, rule.path);
  }
  const { mesh } = decision;
  if (mesh?.rule) note(mesh.rule, mesh.rule.path);
  for (const ref of mesh?.closedBy ?? []) note(ref, subjectPath(ref));
  for (const { rule } of meshNearMisses) note(rule, rule.path);
  for (const rule of [...(mesh?.asks ?? []).map((each) => each.rule), ...(mesh?.logged ?? [])])
    note(rule, rule.path);
  const where = places.size > 0 ? ['', 'where:', ...places] : [];
  return `${[...lines, ...where].join('\n')}\n`;
}
