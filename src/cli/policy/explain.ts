/** `heddle policy explain`: one flow's verdict, the rule behind it with file and line, and what would turn it. */
import type { Command } from 'commander';
import { subjectPath } from '../../policy/analyse/lint.ts';
import type { Direction, PolicyRef, RuleRef, Side } from '../../policy/decision.ts';
import { policyText } from '../../policy/decision.ts';
import { explain, type Explanation, type NearMiss } from '../../policy/explain.ts';
import type { MeshSide } from '../../policy/mesh/side.ts';
import type { MeshNearMiss } from '../../policy/mesh/words.ts';
import { smallestChange } from '../../policy/change/smallest-change.ts';
import type { Request } from '../../policy/request.ts';
import type { Flow, FlowPeer } from '../../policy/world.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import { changeOutputOf, changeText } from './explain-change.ts';
import { type FlowFlags, readFlow, withFlow, wordsOf } from './flow-words.ts';
import type { LoadedEstate } from './read-estate.ts';

type ExplainFlags = EstateFlags & FlowFlags;

const examples = `
Examples:
  heddle policy explain -f k8s/ --from shop/frontend --to shop/cart --port 8080
  heddle policy explain -f k8s/ --from 203.0.113.9 --to shop/frontend --port http
  heddle policy explain --from shop/cart --to 10.1.2.3 --port 53 --protocol udp -o json
  heddle policy explain -f k8s/ --from shop/web --to pay/api --port 8080 --http 'GET /bills' -H 'x-team: blue' --claim sub=ann
  heddle policy explain -f k8s/ --from shop/web --to shop/cart --port 9000 --grpc shop.v1.Cart/AddItem
  heddle policy explain -f k8s/ --from shop/cart --to 10.96.0.10 --dns api.example.com
  heddle policy explain -f k8s/ --from shop/cart --to shop/queue --port 9092 --kafka 'produce orders'
  heddle policy explain -f k8s/ --from tools/probe --to shop/cart --icmp 8
  heddle policy explain -f k8s/ --from old/batch --to shop/cart --port 8080 --tls none

0 if the flow is allowed, 1 if it is denied. Services are named by the pods behind them: policy sees no ClusterIP.
Without a request the connection is asked about: it passes if some request on it may. --not-http asks about bytes that no
proxy reads. Without --tls proxies speak mutual TLS among themselves, and nobody else has a certificate.`;

export function addExplain(policy: Command, deps: CliDeps): void {
  withFlow(
    withEstate(
      policy.command('explain').description('one flow: its verdict, by which rule, and what would turn it'),
    ),
  )
    .option('-o, --output <format>', 'text, json or yaml (docs/schemas/policy-explain.json)')
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ExplainFlags>();
      const format = outputFormat(flags.output, ['text', 'json', 'yaml']) ?? 'text';
      const loaded = await estateOf(flags, deps);
      const flow = readFlow(loaded.estate, wordsOf(flags), flags.namespace ?? 'default');
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
  readonly sourcePort: number | null;
  readonly protocolNumber: number | null;
  readonly icmp: NonNullable<Flow['icmp']> | null;
  readonly request: Request | null;
  readonly peer: FlowPeer | null;
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
  flow: Flow,
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
    protocol: flow.protocol,
    port: flow.port ?? null,
    sourcePort: flow.sourcePort ?? null,
    protocolNumber: flow.protocolNumber ?? null,
    icmp: flow.icmp ?? null,
    request: flow.request ?? null,
    peer: flow.peer ?? null,
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
