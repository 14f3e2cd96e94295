/** What examples/shop/README.md promises is what its policies say, for decide and for the tables. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { Deployment, KubeObject, Namespace, NetworkPolicy, Pod, Service } from '../api/types.ts';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import { worldFromObjects } from './from-objects.ts';
import { createLookup } from './lookup.ts';
import { flowOf } from './testing/flow-text.ts';
import { wireFlow } from './wire-flow.ts';
import type { Flow, World } from './world.ts';

const folder = new URL('../../examples/shop/', import.meta.url);
const readme = readFileSync(new URL('README.md', folder), 'utf8');
const objects = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) => parseAllDocuments(readFileSync(new URL(name, folder), 'utf8')))
  .map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as KubeObject;
  });
const ofKind = <T>(kind: string): T[] => objects.filter((o) => o.kind === kind) as unknown as T[];
const deployments = ofKind<Deployment>('Deployment');
const keyOf = ({ metadata }: Deployment | Service) => `${metadata.namespace}/${metadata.name}`;

/** One pod for each workload, spread over two nodes. */
const world: World = worldFromObjects({
  pods: deployments.map(
    ({ metadata, spec }, i) =>
      ({
        metadata: {
          namespace: metadata.namespace,
          name: metadata.name,
          labels: spec!.template.metadata!.labels,
        },
        spec: { ...spec!.template.spec, nodeName: `node-${(i % 2) + 1}` },
        status: { podIPs: [{ ip: `10.244.${i % 2}.${i + 2}` }, { ip: `fd00:10:244:${i % 2}::${i + 2}` }] },
      }) as Pod,
  ),
  namespaces: ofKind<Namespace>('Namespace'),
  nodes: [],
  policies: ofKind<NetworkPolicy>('NetworkPolicy'),
});

/** Rows of the table under a heading, without its head. */
function rowsUnder(heading: string): string[][] {
  const section = readme.split(`## ${heading}\n`)[1]!.split('\n## ')[0]!;
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

const list = (cell: string): string[] => cell.split(', ');

const promised = new Set(
  rowsUnder('Who may talk to whom').flatMap(([from = '', to = '', on = '']) =>
    list(from).flatMap((src) => list(to).flatMap((dst) => list(on).map((port) => `${src} > ${dst} ${port}`))),
  ),
);

const allFlows = world.pods.flatMap((src) =>
  world.pods
    .filter((dst) => dst !== src)
    .flatMap((dst) =>
      dst.ports.map(
        ({ protocol, port }) =>
          `${src.namespace}/${src.name} > ${dst.namespace}/${dst.name} ${protocol} ${port}`,
      ),
    ),
);

const decide = createDecider(world);
const look = createLookup(compile(world));

function verdict(flow: Flow): string {
  const decision = decide(flow);
  const found = look(wireFlow(world, flow));
  assert.deepEqual(
    [found.verdict, found.egress.ruleNumber, found.ingress.ruleNumber],
    [decision.verdict, decision.egress.ruleNumber, decision.ingress.ruleNumber],
  );
  return decision.verdict;
}

for (const family of [4, 6] as const)
  test(`the shop’s workloads talk as its README promises, and no other way, over IPv${family}`, () => {
    const allowed = allFlows.filter((text) => verdict({ ...flowOf(text), family }) === 'allow');
    assert.deepEqual(allowed.sort(), [...promised].sort());
  });

test('the shop and the outside talk as its README promises', () => {
  const rows = rowsUnder('And the outside');
  assert.ok(rows.length > 5);
  for (const [from, to, on, expected] of rows)
    assert.equal(verdict(flowOf(`${from} > ${to} ${on}`)), expected, `${from} > ${to}`);
});

test('every rule of the shop is read, and every policy selects a pod', () => {
  const tables = compile(world);
  assert.deepEqual(tables.problems, []);
  for (const { metadata } of world.policies) {
    const isolates = [...tables.rules.values()].some(
      ({ origin }) =>
        'default' in origin &&
        origin.default.some((p) => p.name === metadata.name && p.namespace === metadata.namespace),
    );
    assert.ok(isolates, `${metadata.namespace}/${metadata.name}`);
  }
});

test('every service of the shop selects its workload, and each of its ports is one of the pod’s', () => {
  const services = ofKind<Service>('Service');
  assert.deepEqual(services.map(keyOf).sort(), deployments.map(keyOf).sort());
  for (const service of services) {
    const deployment = deployments.find((d) => keyOf(d) === keyOf(service))!;
    assert.deepEqual(service.spec?.selector, deployment.spec?.template.metadata?.labels);
    const ports = world.pods.find((p) => `${p.namespace}/${p.name}` === keyOf(service))!.ports;
    for (const { targetPort, protocol = 'TCP' } of service.spec?.ports ?? [])
      assert.ok(
        ports.some((p) => p.name === targetPort && p.protocol === protocol),
        `${keyOf(service)} ${targetPort}`,
      );
  }
});

test('both verdicts and both directions of denial are to be seen in the shop', () => {
  const decisions = allFlows.map((text) => decide(flowOf(text)));
  const egress = decisions.filter((d) => d.egress.verdict === 'deny').length;
  const ingress = decisions.filter(
    (d) => d.egress.verdict === 'allow' && d.ingress.verdict === 'deny',
  ).length;
  assert.ok(promised.size > 20 && egress > 20 && ingress > 20, `${promised.size} ${egress} ${ingress}`);
});
