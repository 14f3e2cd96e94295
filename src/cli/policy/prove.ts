/** `heddle policy prove`: assertions, each proved for every pair, address and port, or refuted by a flow. */
import type { Command } from 'commander';
import type { Assertion, Counterexample, Proof } from '../../policy/analyse/prove.ts';
import { createProver } from '../../policy/analyse/prove.ts';
import { subjectPath } from '../../policy/analyse/lint.ts';
import { type PolicyRef, policyText, ruleText, type RuleRef } from '../../policy/decision.ts';
import { explain } from '../../policy/explain.ts';
import type { FlowEnd } from '../../policy/world.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import { explainText } from './explain.ts';
import { junit } from './junit.ts';
import { itemsOf, onlyKeys, type Part, readParts, refused, textOf } from './question-file.ts';
import type { LoadedEstate } from './read-estate.ts';
import { sentenceOf, setOf } from './sentence.ts';
import { portsOf, whoOf } from './words.ts';

const FORMATS = ['text', 'json', 'yaml', 'junit'] as const;

const examples = `
Examples:
  heddle policy prove -f k8s/ assertions.yaml

An assertion is a sentence, or an object with from, to and one of only, never, always:
  assertions:
    - nothing outside web reaches payments but on 443
    - shop/frontend reaches shop/cart on 8080
    - outside never reaches shop/db
    - name: the vault is the gateway's alone
      from: { not: { workload: payments/gateway } }
      to: { namespace: payments, pods: { matchLabels: { app: vault } } }
      only: []

WHO is a NAMESPACE, NAMESPACE/NAME, an address range, anybody or outside. It holds for IPv4 and IPv6, for the pods that
are known. Somebody who is nobody proves nothing: the assertion fails.

0 if all hold, 1 if one does not.`;

export function addProve(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('prove').description('assertions: proved, or refuted by a flow'))
    .argument('<assertions>', 'a file of them')
    .option('-o, --output <format>', `${FORMATS.join(', ')} (docs/schemas/policy-prove.json)`)
    .addHelpText('after', examples)
    .action(async (path: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<EstateFlags>();
      const format = outputFormat(flags.output, FORMATS) ?? 'text';
      const assertions = itemsOf(await readParts(path, deps), 'assertions').map(assertionOf);
      const loaded = await estateOf(flags, deps);
      const prove = createProver(loaded.estate);
      const results = assertions.map(({ name, assertion, part }) => ({
        name,
        part,
        proof: prove(assertion),
      }));
      const outputs = results.map((each) => proofOutput(each, loaded));
      if (format === 'junit') deps.stdout.write(proofJunit(outputs));
      else if (format === 'text')
        deps.stdout.write(outputs.map((each, i) => proofText(each, results[i]!.proof, loaded)).join(''));
      else await printValue({ assertions: outputs }, format, deps);
      process.exitCode = outputs.every(({ holds }) => holds) ? answers.yes : answers.no;
    });
}

interface Named {
  readonly name: string;
  readonly assertion: Assertion;
  readonly part: Part;
}

/** @throws HeddleError `BadManifest` */
export function assertionOf(part: Part): Named {
  if (typeof part.value === 'string') return { name: part.value, assertion: sentenceOf(part), part };
  onlyKeys(part, ['name', 'from', 'to', 'only', 'never', 'always', 'assert']);
  const sentence = part.get('assert');
  const name = part.get('name') ? textOf(part, 'name') : undefined;
  if (sentence) {
    onlyKeys(part, ['name', 'assert']);
    return { name: name ?? String(sentence.value), assertion: sentenceOf(sentence), part };
  }
  const [must, ...more] = (['only', 'never', 'always'] as const).filter((key) => part.get(key));
  const [from, to] = [part.get('from'), part.get('to')];
  if (!must || more.length > 0 || !from || !to)
    throw refused(part, 'expected from, to and one of only, never, always');
  const assertion = { from: whoOf(from), to: whoOf(to), must, ports: setOf(portsOf(part.get(must)!)) };
  return { name: name ?? `${part.file}:${part.line}`, assertion, part };
}

interface ProofOutput {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly holds: boolean;
  readonly why: string;
  readonly counterexample: ReturnType<typeof counterexampleOutput> | null;
}

function proofOutput(
  { name, part, proof }: Pick<Named, 'name' | 'part'> & { proof: Proof },
  loaded: LoadedEstate,
): ProofOutput {
  const { file, line } = part;
  if (proof.holds)
    return { name, file, line, holds: true, why: `holds for ${proof.pairs} pairs`, counterexample: null };
  if ('nobody' in proof)
    return {
      name,
      file,
      line,
      holds: false,
      why: `"${proof.nobody}" is nobody that is known`,
      counterexample: null,
    };
  const counterexample = counterexampleOutput(proof.counterexample, loaded);
  const { from, to, protocol, port, verdict } = counterexample;
  const why = `${from} → ${to} ${protocol} ${port} is ${verdict === 'allow' ? 'allowed' : 'denied'}`;
  return { name, file, line, holds: false, why, counterexample };
}

const endText = (end: FlowEnd): string => ('pod' in end ? end.pod : end.address);

/** What both sides of the network and the mesh say. */
interface SideLike {
  readonly reason: string;
  readonly rule?: RuleRef | undefined;
  readonly isolatedBy?: readonly PolicyRef[];
  readonly closedBy?: readonly PolicyRef[] | undefined;
}

function counterexampleOutput({ flow, decision }: Counterexample, { placeOf }: LoadedEstate) {
  const side = ({ reason, rule, isolatedBy = [], closedBy = [] }: SideLike) => {
    const place = rule && placeOf(rule, rule.path);
    return {
      reason,
      rule: rule ? ruleText(rule) : null,
      file: place?.file ?? null,
      line: place?.line ?? null,
      isolatedBy: isolatedBy.map(policyText),
      closedBy: closedBy.map((ref) => {
        const path = subjectPath(ref);
        const at = placeOf(ref, path);
        return { policy: policyText(ref), path, file: at?.file ?? null, line: at?.line ?? null };
      }),
    };
  };
  return {
    from: endText(flow.src),
    to: endText(flow.dst),
    protocol: flow.protocol,
    port: flow.port ?? null,
    verdict: decision.verdict,
    egress: side(decision.egress),
    ingress: side(decision.ingress),
    mesh: decision.mesh ? side(decision.mesh) : null,
  };
}

/** Of a flow that refutes: what each end says of it, and where that is written, as of `heddle policy explain`. */
function proofText({ name, holds, why }: ProofOutput, proof: Proof, loaded: LoadedEstate): string {
  const head = `${holds ? '✓' : '✗'} ${name}\n`;
  if (holds) return head;
  if (!('counterexample' in proof)) return `${head}    ${why}\n`;
  const told = explainText(explain(loaded.estate.world, proof.counterexample.flow), loaded);
  const [sides = '', places] = told.trimEnd().split('\n\n');
  const lines = [
    `  ${why}`,
    ...sides.split('\n').slice(1),
    ...(places?.split('\n') ?? []).map((line) => `  ${line}`),
  ];
  return `${head}${lines.map((line) => `  ${line}\n`).join('')}`;
}

const proofJunit = (outputs: readonly ProofOutput[]): string =>
  junit(
    'heddle policy prove',
    outputs.map(({ name, file, line, holds, why }) => ({
      name,
      file,
      line,
      failure: holds ? undefined : why,
    })),
  );
