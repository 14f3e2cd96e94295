/** `heddle policy test`: flows and the verdicts that they must have. */
import type { Command } from 'commander';
import { HeddleError } from '../../lib/errors.ts';
import { isObject } from '../../lib/json.ts';
import { explain } from '../../policy/explain.ts';
import type { Flow } from '../../policy/world.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import { findEnd, portOf, protocolOf } from './ends.ts';
import { explainText } from './explain.ts';
import { junit } from './junit.ts';
import { itemsOf, onlyKeys, type Part, readParts, refused, textOf } from './question-file.ts';
import type { LoadedEstate } from './read-estate.ts';
import { requestOf, type RequestWords } from './request.ts';

const FORMATS = ['text', 'json', 'yaml', 'junit'] as const;

const examples = `
Examples:
  heddle policy test -f k8s/ cases.yaml
  heddle policy test -f k8s/ cases.yaml -o junit > policy.xml

A case:
  - { from: shop/frontend, to: shop/cart, port: 8080, expect: allow }
  - { from: shop/frontend, to: shop/cart, port: 8080, http: GET /items, expect: allow }
  - { from: shop/frontend, to: shop/cart, port: 8080, http: { request: PUT /items, headers: { x-team: blue }, claims: { sub: ann } }, expect: deny }
  - { from: 203.0.113.9, to: shop/db, port: 53, protocol: UDP, expect: deny, name: the db is nobody's name server }

from and to are workloads, pods or addresses; protocol is TCP if it is not said; a port may be a name.
Without http the connection is asked about: it passes if some request on it may.

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
  onlyKeys(part, ['name', 'from', 'to', 'port', 'protocol', 'expect', 'http']);
  const expect = textOf(part, 'expect').toLowerCase();
  if (expect !== 'allow' && expect !== 'deny')
    throw refused(part.get('expect') ?? part, `expect: "${expect}": expected allow or deny`);
  const flow = flowOf(part, loaded, namespace);
  const explanation = explain(loaded.estate.world, flow);
  const { verdict } = explanation.decision;
  const ofHttp = flow.request?.type === 'http' ? ` ${flow.request.method} ${flow.request.path}` : '';
  const what = `${textOf(part, 'from')} → ${textOf(part, 'to')} ${flow.protocol}${flow.port === undefined ? '' : ` ${flow.port}`}${ofHttp}`;
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

function flowOf(part: Part, { estate }: LoadedEstate, namespace: string): Flow {
  try {
    const src = findEnd(estate, 'from', textOf(part, 'from'), namespace);
    const dst = findEnd(estate, 'to', textOf(part, 'to'), namespace);
    const protocol = part.get('protocol') ? protocolOf(textOf(part, 'protocol'), 'protocol') : 'TCP';
    const port = protocol === 'ICMP' ? undefined : portOf(textOf(part, 'port'), protocol, dst.pod, 'port');
    const request = requestOf(requestWords(part), protocol, 'http');
    return { src: src.end, dst: dst.end, protocol, port, request };
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== 'BadFlag') throw error;
    throw new HeddleError('BadManifest', `${part.file}:${part.line}: ${error.message}`, { hint: error.hint });
  }
}

/** `GET /x`, or an object with it as `request`, and headers and claims. @throws HeddleError `BadManifest` */
function requestWords(part: Part): RequestWords {
  const http = part.get('http');
  if (!http || typeof http.value === 'string') return { http: http?.value as string | undefined };
  onlyKeys(http, ['request', 'headers', 'claims']);
  const pairs = (key: string): [string, unknown][] => {
    const list = http.get(key);
    if (!list) return [];
    if (!isObject(list.value)) throw refused(list, `http.${key}: expected names and their values`);
    return Object.entries(list.value);
  };
  return {
    http: textOf(http, 'request'),
    headers: pairs('headers').map(
      ([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
    claims: pairs('claims').map(
      ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
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
