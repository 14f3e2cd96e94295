import assert from 'node:assert/strict';
import { test } from 'node:test';
import { schemaViolations } from '../../test/schema.ts';
import type { TranslatedFlow } from '../datapath/backend.ts';
import { viewToJson } from '../datapath/dump/wire.ts';
import { emptyState } from '../datapath/plan/tables.ts';
import type { HeddleError } from '../lib/errors.ts';
import type { FlowEvent } from '../observe/flow-event.ts';
import { viewsOf } from '../datapath/testing/views.ts';
import { moveNodes } from './datapath-move.ts';
import type { Agents, Answer } from './datapath-nodes.ts';
import { dryTrace, type LiveEvent, watch } from './datapath-trace.ts';

type Route = (path: string, body: unknown) => unknown;

/** Agents that answer from memory. */
function fakeAgents(nodes: Readonly<Record<string, Route>>): Agents & { readonly asked: string[] } {
  const asked: string[] = [];
  const askOne = async <T>(node: string, path: string, body?: unknown): Promise<T> => {
    asked.push(`${node} ${path}`);
    return nodes[node]?.(path, body) as T;
  };
  return {
    asked,
    paths: {} as never,
    config: {} as never,
    nodes: Object.keys(nodes),
    askOne,
    ask: <T>(path: string, body?: unknown) =>
      Promise.all(
        Object.keys(nodes).map(
          async (node): Promise<Answer<T>> => ({ node, answer: await askOne<T>(node, path, body) }),
        ),
      ),
  };
}

const flow: TranslatedFlow = {
  protocol: 6,
  client: '10.244.1.2',
  clientPort: 4000,
  address: '10.96.0.1',
  port: 80,
  backend: '10.244.1.3',
  backendPort: 8080,
};

function movable(backend: string, flows: readonly TranslatedFlow[]): Route {
  const pods = [{ pod: 'shop/web', node: 'node-1', addresses: ['10.244.1.2'] }];
  const view = { node: 'node-1', backend, state: emptyState(), pods, nodes: [] };
  return (path) => (path === '/datapath/plan' ? viewToJson({ ...view, node: backend }) : flows);
}

const names = (agents: { asked: string[] }) => agents.asked.filter((each) => each.includes('/move'));

test('a move that ends connections names them, and goes on only when told to', async () => {
  const agents = fakeAgents({ nftables: movable('nftables', [flow]), ebpf: movable('ebpf', []) });
  const request = { to: 'ebpf', dryRun: false, anyway: false };
  await assert.rejects(
    moveNodes(agents, request, () => {}),
    (error: HeddleError) => {
      assert.equal(error.code, 'WouldCut');
      assert.match(error.message, /ends 1 connection: shop\/web to 10\.96\.0\.1:80 \(10\.244\.1\.3:8080\)/);
      return true;
    },
  );
  assert.deepEqual(names(agents), []);
  const dry = await moveNodes(agents, { ...request, dryRun: true }, () => {});
  assert.deepEqual(schemaViolations('datapath-move', dry), []);
  assert.deepEqual([dry.cut.length, dry.nodes.map(({ moved }) => moved)], [1, [false, false]]);
  const done = await moveNodes(agents, { ...request, anyway: true }, () => {});
  assert.deepEqual(schemaViolations('datapath-move', done), []);
  assert.deepEqual(names(agents), ['nftables /datapath/move?to=ebpf']);
  assert.deepEqual(
    done.nodes.map(({ from, moved }) => [from, moved]),
    [
      ['nftables', true],
      ['ebpf', false],
    ],
  );
});

test('the records of a traced connection are told, whatever family it takes, and no others', async () => {
  const [view] = viewsOf({
    nodes: [{ name: 'node-1', addresses: ['10.240.0.11'] }],
    namespaces: [],
    policies: [],
    pods: ['web', 'db'].map((name, i) => ({
      namespace: 'a',
      name,
      node: 'node-1',
      labels: {},
      addresses: [`10.244.1.${i + 1}`, `fd00:10:244:1::${i + 1}`],
      ports: [],
    })),
  }).values();
  assert.ok(view);
  const stop = new AbortController();
  const event = (sport: number, more: Partial<FlowEvent>): FlowEvent => ({
    seq: sport,
    node: 'node-1',
    time: 0,
    verdict: 'allow',
    direction: 'ingress',
    rule: 1,
    protocol: 'TCP',
    src: '10.244.1.1',
    dst: '10.244.1.2',
    sport,
    dport: 80,
    ...more,
  });
  const agents = fakeAgents({
    'node-1': (path) => {
      if (path === '/datapath/plan') return viewToJson(view);
      if (path === '/datapath/probe') return null;
      if (path.includes('limit')) return { events: [], next: 5, lost: 0 };
      stop.abort();
      assert.equal(path, '/flows?since=5');
      const events = [
        event(1, {}),
        event(2, { src: 'fd00:10:244:1::1', dst: 'fd00:10:244:1::2' }),
        event(3, { dport: 81 }),
        event(4, { src: '10.244.1.9' }),
        event(5, { protocol: 'UDP' }),
        event(6, { src: '10.244.1.2', dst: '10.244.1.1' }),
      ];
      return { events, next: 9, lost: 0 };
    },
  });
  const traced = await dryTrace(agents, {
    from: 'a/web',
    to: 'a/db:80',
    protocol: 'TCP',
    family: undefined,
    liveMs: 1,
  });
  assert.deepEqual(schemaViolations('datapath-trace', traced.output), []);
  const seen: LiveEvent[] = [];
  await watch(agents, traced, 60_000, (each) => seen.push(each), stop.signal);
  assert.deepEqual(
    seen.map(({ src }) => src),
    ['10.244.1.1:1', '[fd00:10:244:1::1]:2'],
  );
});
