/** A policy is tried out before it is enforced: it denies nothing, and what it would have denied is counted and told. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { callSocket } from '../../src/lib/unix-http.ts';
import type { FlowPage } from '../../src/observe/flow-event.ts';
import type { AuditRow } from '../../src/cli/policy/audit.ts';
import { schemaViolations } from '../schema.ts';
import { otherDatapath } from './deep-only.ts';
import { type LocalCluster, root, upCluster } from './local-cluster.ts';

const lockDown = (stage: 'audit' | 'enforce') => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: lock-down
  labels:
    heddle.dev/stage: ${stage}
spec:
  podSelector: { matchLabels: { app: server } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: friend } } }]
`;

const [DENIED, ALLOWED] = [
  'default deny ingress: NetworkPolicy default/lock-down',
  'NetworkPolicy default/lock-down spec.ingress[0]',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`an audited policy denies nothing and is counted and told with its rule, by ${datapath}; then it is enforced`, {
    timeout: 300_000,
    skip: otherDatapath(datapath),
  }, async (t) => {
    const cluster = await upCluster(t, join(root, 'test/manifests/audited'), '--datapath', datapath);
    await apply(cluster, 'audit', DENIED);
    assert.equal((await cluster.heddle('policy', 'audit')).code, 0, 'nothing was seen yet');

    assert.equal((await curl(cluster, 'friend')).code, 0);
    assert.equal((await curl(cluster, 'stranger')).code, 0, 'what is audited denies nothing');
    const rows = await audited(cluster);
    const seen = rows.map(({ audit, enforced, packets }) => [
      audit.verdict,
      audit.text,
      enforced.verdict,
      enforced.rule,
      packets > 0,
    ]);
    assert.deepEqual(seen, [
      ['deny', DENIED, 'allow', 0, true],
      ['allow', ALLOWED, 'allow', 0, true],
    ]);
    assert.deepEqual(
      new Set(
        (await flows(cluster)).map(({ verdict, audit }) => `${verdict}, ${audit?.verdict}: ${audit?.text}`),
      ),
      new Set([`allow, deny: ${DENIED}`, `allow, allow: ${ALLOWED}`]),
    );

    const trace = await cluster.heddle('datapath', 'trace', 'default/stranger', 'default/server:80');
    assert.equal(trace.code, 0, trace.stdout);
    assert.match(trace.stdout, /ingress +no rule decides.*; audited: deny by default deny ingress: Net/);
    const told = await metrics(cluster);
    assert.match(
      told,
      /heddle_policy_audit_packets_total\{audit="deny",direction="ingress",rule="default deny[^"]*lock-down",verdict="allow"\} [1-9]/,
    );
    assert.match(
      told,
      /heddle_flow_events_audited_total\{audit="deny",direction="ingress",verdict="allow"\} [1-9]/,
    );
    assert.match(
      await cluster.must('datapath', 'dump', 'policy', '--pod', 'server'),
      /audit-deny .*deny: default deny/,
    );
    await cluster.must('datapath', 'verify');

    const learned = await cluster.heddle('policy', 'generate', '--flows', '-o', 'json');
    assert.equal(learned.code, 0, learned.stderr);
    assert.deepEqual(ingressOf(learned.stdout, 'server'), [
      { from: ['friend', 'stranger'], ports: [{ protocol: 'TCP', port: 8080 }] },
    ]);

    await apply(cluster, 'enforce', DENIED);
    assert.notEqual((await curl(cluster, 'stranger')).code, 0, 'what is enforced denies');
    assert.equal((await curl(cluster, 'friend')).code, 0);
    assert.deepEqual(await audited(cluster), []);
    const last = (await flows(cluster)).at(-1);
    assert.deepEqual([last?.verdict, last?.text, last?.audit], ['allow', ALLOWED, undefined]);
  });

/** Until the nodes have it: the file's stage is in the words of the server's policy. */
async function apply(cluster: LocalCluster, stage: 'audit' | 'enforce', rule: string): Promise<void> {
  const file = join(cluster.dataDir, `${stage}.yaml`);
  writeFileSync(file, lockDown(stage));
  await cluster.must('apply', '-f', file);
  const column = stage === 'audit' ? 'audit' : 'text';
  for (;;) {
    const dump = JSON.parse(await cluster.must('datapath', 'dump', 'policy', '-o', 'json')) as {
      tables: { policy: { text: string; audit: { text: string } | null }[] };
    };
    const texts = dump.tables.policy.map((row) => (column === 'text' ? row.text : row.audit?.text));
    if (texts.includes(rule)) return;
  }
}

const curl = (cluster: LocalCluster, from: string) =>
  cluster.heddle('exec', from, '--', 'curl', '-sS', '--max-time', '2', 'http://server/');

async function audited(cluster: LocalCluster): Promise<AuditRow[]> {
  const outcome = await cluster.heddle('policy', 'audit', '-o', 'json');
  const answer = JSON.parse(outcome.stdout) as { rules: AuditRow[] };
  assert.deepEqual(schemaViolations('policy-audit', answer), []);
  const isOther = ({ audit, enforced, packets }: AuditRow) =>
    packets > 0 && audit.verdict !== enforced.verdict;
  assert.equal(outcome.code, answer.rules.some(isOther) ? 1 : 0);
  return answer.rules;
}

const NODES = ['node-1', 'node-2'];

async function flows(cluster: LocalCluster): Promise<FlowPage['events']> {
  const pages = await Promise.all(
    NODES.map((node) =>
      callSocket<FlowPage>({ socketPath: cluster.paths.node(node).agentSocket, path: '/flows' }),
    ),
  );
  return pages.flatMap(({ events }) => events).sort((a, b) => a.time - b.time);
}

/** Of all nodes, one after the other. */
async function metrics(cluster: LocalCluster): Promise<string> {
  const texts = NODES.map(
    (node) =>
      new Promise<string>((resolve, reject) => {
        const req = request({ socketPath: cluster.paths.node(node).agentSocket, path: '/metrics' }, (res) => {
          const chunks: Buffer[] = [];
          res.on('data', (chunk: Buffer) => chunks.push(chunk));
          res.on('end', () => resolve(Buffer.concat(chunks).toString()));
        });
        req.on('error', reject).end();
      }),
  );
  return (await Promise.all(texts)).join('\n');
}

interface Generated {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: {
      readonly ingress: readonly {
        readonly from: readonly {
          readonly podSelector: { readonly matchLabels: { readonly app: string } };
        }[];
        readonly ports: readonly object[];
      }[];
    };
  }[];
}

function ingressOf(json: string, policy: string) {
  const { items } = JSON.parse(json) as Generated;
  const found = items.find(({ metadata }) => metadata.name === policy);
  return found?.spec.ingress.map(({ from, ports }) => ({
    from: from.map(({ podSelector }) => podSelector.matchLabels.app).sort(),
    ports,
  }));
}
