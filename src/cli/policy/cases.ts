/** `heddle policy test`: flows and the verdicts that they must have. */
import type { Command } from 'commander';
import { explain, flowText } from '../../policy/explain.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import { FLOW_FIELDS, flowOfCase } from './case-flow.ts';
import { explainText } from './explain.ts';
import { junit } from './junit.ts';
import { itemsOf, onlyKeys, type Part, readParts, refused, textOf } from './question-file.ts';
import type { LoadedEstate } from './read-estate.ts';

const FORMATS = ['text', 'json', 'yaml', 'junit'] as const;

const examples = `
Examples:
  heddle policy test -f k8s/ cases.yaml
  heddle policy test -f k8s/ cases.yaml -o junit > policy.xml

A case:
  - { from: shop/frontend, to: shop/cart, port: 8080, expect: allow }
  - { from: shop/frontend, to: shop/cart, port: 8080, http: GET /items, expect: allow }
  - { from: shop/frontend, to: shop/cart, port: 8080, http: { request: PUT /items, headers: { x-team: blue }, claims: { sub: ann } }, expect: deny }
  - { from: shop/web, to: shop/cart, port: 9000, grpc: shop.v1.Cart/AddItem, expect: allow }
  - { from: shop/cart, to: 10.96.0.10, dns: api.example.com, expect: allow }
  - { from: shop/cart, to: shop/queue, port: 9092, kafka: produce orders, expect: allow }
  - { from: tools/probe, to: shop/cart, icmp: 8, expect: deny }
  - { from: old/batch, to: shop/cart, port: 8080, tls: none, notHttp: true, expect: deny }
  - { from: 203.0.113.9, to: shop/db, port: 53, protocol: UDP, expect: deny, name: the db is nobody's name server }

from and to are workloads, pods or addresses; protocol is TCP if it is not said (UDP with dns, ICMP with icmp), or a number; a
port may be a name. More of a flow: sourcePort, icmp (8, or 3/4), tls (mutual, simple, none), principal, sni, remote,
authorizers ({ opa: deny }), ipv6. Without a request the connection is asked about: it passes if some request on it may.

0 if all pass, 1 if one does not.`;

export function addTest(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('test').description('flows, and the verdicts that they must have'))
    .argument('<cases>', 'a file of them')
    .option('-o, --output <format>', `${FORMATS.join(', ')} (docs/schemas/policy-test.json)`)
    .addHelpText('after', examples)
    .action(async (path: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<EstateFlags>();
      const format = outputFormat(flags.output, FORMATS) ?? 'text';
      const parts = itemsOf(await readParts(path, deps), 'cases');
      const loaded = await estateOf(flags, deps);
      const results = parts.map((part) => runCase(part, loaded, flags.namespace ?? 'default'));
      if (format === 'text') deps.stdout.write(resultsText(results));
      else if (format === 'junit') deps.stdout.write(resultsJunit(results));
      else await printValue({ cases: results.map(({ details: _details, ...each }) => each) }, format, deps);
      process.exitCode = results.every(({ passed }) => passed) ? answers.yes : answers.no;
    });
}

export interface CaseResult {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly expect: 'allow' | 'deny';
  readonly verdict: 'allow' | 'deny';
  readonly passed: boolean;
  readonly details: string;
}

/** @throws HeddleError `BadManifest` */
export function runCase(part: Part, loaded: LoadedEstate, namespace: string): CaseResult {
  onlyKeys(part, ['name', 'expect', ...FLOW_FIELDS]);
  const expect = textOf(part, 'expect').toLowerCase();
  if (expect !== 'allow' && expect !== 'deny')
    throw refused(part.get('expect') ?? part, `expect: "${expect}": expected allow or deny`);
  const flow = flowOfCase(part, loaded.estate, namespace);
  const explanation = explain(loaded.estate.world, flow);
  const { verdict } = explanation.decision;
  const what = `${textOf(part, 'from')} → ${textOf(part, 'to')} ${flowText(flow)}`;
  return {
    name: part.get('name') ? textOf(part, 'name') : `${what}: ${expect}`,
    file: part.file,
    line: part.line,
    expect,
    verdict,
    passed: verdict === expect,
    details: explainText(explanation, loaded),
  };
}

function resultsText(results: readonly CaseResult[]): string {
  const lines = results.map(({ name, file, line, passed, expect, verdict, details }) =>
    passed
      ? `✓ ${name}\n`
      : `✗ ${name}\n    ${file}:${line}: expected ${expect}, got ${verdict}\n${details.trimEnd().replace(/^(?=.)/gm, '    ')}\n`,
  );
  const failed = results.filter(({ passed }) => !passed).length;
  return `${lines.join('')}${results.length} ${results.length === 1 ? 'case' : 'cases'}, ${failed} failed\n`;
}

const resultsJunit = (results: readonly CaseResult[]): string =>
  junit(
    'heddle policy test',
    results.map(({ name, file, line, passed, expect, verdict, details }) => ({
      name,
      file,
      line,
      failure: passed ? undefined : `expected ${expect}, got ${verdict}`,
      details,
    })),
  );
