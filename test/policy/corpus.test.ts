/** Every world of this folder: what its table says is what decide says, and what the compiled tables say. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { KubeObject, Namespace, Node, Pod, ServiceAccount } from '../../src/api/types.ts';
import { compile } from '../../src/policy/compile.ts';
import { createDecider } from '../../src/policy/decide.ts';
import { type Decision, type Outcome, policyText, ruleKey, type Side } from '../../src/policy/decision.ts';
import { worldFromObjects } from '../../src/policy/from-objects.ts';
import { createIndexedDecider } from '../../src/policy/indexed/decider.ts';
import { createLookup } from '../../src/policy/lookup.ts';
import { buildMesh } from '../../src/policy/mesh/mesh.ts';
import { isMeshKind, type MeshObject } from '../../src/policy/mesh/objects.ts';
import type { MeshSide } from '../../src/policy/mesh/side.ts';
import type { PolicyObject } from '../../src/policy/objects.ts';
import { buildScene } from '../../src/policy/scene.ts';
import { flowOf } from '../../src/policy/testing/flow-text.ts';
import { wireFlow } from '../../src/policy/wire-flow.ts';
import type { World } from '../../src/policy/world.ts';

const folder = import.meta.dirname;

interface Row {
  readonly flow: string;
  readonly verdict: string;
  readonly by: string;
  /** What it would be with the audited policies; absent: the same. */
  readonly audit?: string;
}

interface Case {
  readonly world: World;
  readonly rows: readonly Row[];
  /** `path: message` */
  readonly problems: readonly string[];
}

type AnyObject = {
  readonly kind?: string;
  readonly flows?: string;
  readonly problems?: readonly string[];
  readonly names?: World['names'];
};

const documentsOf = (file: string): AnyObject[] =>
  parseAllDocuments(readFileSync(`${folder}/${file}`, 'utf8')).map((document) => {
    assert.deepEqual(document.errors, [], file);
    return document.toJS() as AnyObject;
  });

const cluster = documentsOf('cluster.yaml');

export function caseOf(file: string): Case {
  const own = documentsOf(file);
  const table = own.find(({ flows }) => flows !== undefined);
  assert.ok(table?.flows, `${file} has no flows`);
  const objects = [...cluster, ...own.filter(({ kind }) => kind !== undefined)];
  const ofKind = <T>(kind: string) => objects.filter((object) => object.kind === kind) as unknown as T[];
  const policies = objects.filter(({ kind }) => kind?.endsWith('NetworkPolicy')) as unknown as PolicyObject[];
  return {
    world: {
      ...worldFromObjects({
        // Of objects with the same name the last counts.
        namespaces: ofKind<Namespace>('Namespace'),
        nodes: ofKind<Node>('Node'),
        pods: ofKind<Pod>('Pod'),
        policies,
        mesh: objects.filter(({ kind }) => isMeshKind(kind)) as unknown as MeshObject[],
        serviceAccounts: ofKind<ServiceAccount>('ServiceAccount'),
        others: objects as KubeObject[],
      }),
      ...(table.names ? { names: table.names } : {}),
    },
    rows: table.flows
      .trim()
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .map(([flow = '', verdict = '', by = '', audit]) => ({
        flow,
        verdict,
        by,
        ...(audit === undefined ? {} : { audit }),
      })),
    problems: table.problems ?? [],
  };
}

const deciderText = ({ rule, verdict }: Outcome, side: Side): string => {
  if (rule) return ruleKey(rule);
  return verdict === 'deny'
    ? `default deny of ${(side.closedBy ?? side.isolatedBy).map(policyText).join(', ')}`
    : '';
};

/** `egress: …; ingress: …`, `-` where nothing decides; the ingress side of what never gets there is left out. */
function byText({ egress, ingress, mesh }: Decision): string {
  const sides = [
    ['egress', egress],
    ['ingress', egress.verdict === 'allow' ? ingress : undefined],
  ] as const;
  const texts = sides.flatMap(([name, side]) => {
    const text = side && deciderText(side, side);
    return text ? [`${name}: ${text}`] : [];
  });
  if (mesh && egress.verdict === 'allow' && ingress.verdict === 'allow') texts.push(...meshTexts(mesh));
  return texts.join('; ') || '-';
}

/** `mesh: …`, and what is told beside. */
function meshTexts({ rule, reason, closedBy = [], redirect, asks = [], logged = [] }: MeshSide): string[] {
  const decider = rule ? ruleKey(rule) : closedBy.map(policyText).join(', ');
  const how = reason === 'default-deny' ? 'default deny of ' : '';
  return [
    ...(decider || redirect ? [`mesh: ${how}${decider}${redirect ? ' by request' : ''}`] : []),
    ...asks.map(({ provider, rule: by }) => `asks ${provider}: ${ruleKey(by)}`),
    ...logged.map((by) => `logs: ${ruleKey(by)}`),
  ];
}

const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.yaml') && entry.parentPath !== folder)
  .map((entry) => `${basename(entry.parentPath)}/${entry.name}`)
  .sort();

for (const file of files)
  test(file.replaceAll('-', ' ').replace('.yaml', ''), () => {
    const { world, rows, problems } = caseOf(file);
    const tables = compile(world);
    // Those of what is written; what no table can say is another matter.
    assert.deepEqual(
      [
        ...buildScene(world).policies.flatMap((policy) => policy.problems),
        ...(buildMesh(world)?.problems ?? []),
      ].map(({ path, message }) => `${path}: ${message}`),
      problems,
    );
    const [decide, look] = [createDecider(world), createLookup(tables)];
    const byTables: typeof decide = (flow) => look(wireFlow(world, flow));
    const byIndex = createIndexedDecider()(world);
    // Tables answer the network's question alone, of connections and not of requests on them, nor of types of ICMP messages.
    const isForTables = ({ flow }: Row) => {
      const { request, icmp } = flowOf(flow);
      return (world.mesh ?? []).length === 0 && !request && !icmp;
    };
    for (const [who, asked] of [
      [decide, rows],
      [byIndex, rows],
      [byTables, rows.filter(isForTables)],
    ] as const)
      assert.deepEqual(
        asked.map(({ flow, audit }) => {
          const decision = who(flowOf(flow));
          const { verdict } = decision;
          return {
            flow,
            verdict,
            by: byText(decision),
            ...(audit === undefined ? {} : { audit: decision.audit }),
          };
        }),
        asked,
      );
  });

test('there is a world for every language and for their combination', () => {
  const folders = new Set(files.map((file) => file.split('/')[0]));
  assert.deepEqual(
    [...folders],
    [
      'admin-network-policy',
      'calico',
      'cilium',
      'cluster-network-policy',
      'combining',
      'istio',
      'network-policy',
      'stages',
    ],
  );
  assert.ok(files.length >= 40, `${files.length} files`);
});
