import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { schemaViolations } from '../../../test/schema.ts';
import { worlds } from '../../policy/testing/arbitraries.ts';
import type { TrackedFlow } from '../backend.ts';
import { trackedFlow } from '../conntrack-flows.ts';
import { viewsOf } from '../testing/views.ts';
import { DUMP_NAMES, dump } from './dump.ts';
import type { DumpSource, NodeView } from './source.ts';
import { viewFromJson, viewToJson } from './wire.ts';

const source = (view: NodeView, flows: readonly TrackedFlow[] = []): DumpSource => ({
  ...view,
  counters: new Map([...view.state.rules.keys()].map((rule) => [Number(rule), { packets: 1, bytes: 2 }])),
  flows,
});

const flow: TrackedFlow = {
  protocol: 6,
  src: '10.244.1.1',
  sport: 4000,
  dst: '10.96.0.1',
  dport: 80,
  backend: { address: '10.244.2.2', port: 8080 },
};

test('any plan is dumped as the schema says, before and after its way to the command line', () => {
  fc.assert(
    fc.property(worlds, (world) => {
      for (const view of viewsOf(world).values()) {
        const there = viewFromJson(JSON.parse(JSON.stringify(viewToJson(view))) as never);
        const tables = Object.fromEntries(
          DUMP_NAMES.map((name) => {
            const rows = dump(name, source(view, [flow]), {});
            assert.deepEqual(dump(name, source(there, [flow]), {}), rows, name);
            return [name, rows.map((row) => ({ node: view.node, ...row }))];
          }),
        );
        assert.deepEqual(schemaViolations('datapath-dump', { tables }), []);
      }
    }),
    { numRuns: 40 },
  );
});

test('every address of a pod is behind one identity, and every entry of its policy names a rule', () => {
  fc.assert(
    fc.property(worlds, (world) => {
      for (const view of viewsOf(world).values()) {
        for (const row of dump('policy', source(view), {})) {
          assert.ok(row.text.length > 0);
          if (row.rule !== null) assert.equal(row.packets, 1);
        }
        const seen = new Map<string, number>();
        for (const { ranges, identity } of dump('identities', source(view), {}))
          for (const range of ranges) {
            assert.ok(!seen.has(range), range);
            seen.set(range, identity);
          }
        assert.deepEqual(seen, new Map(view.state.identities));
      }
    }),
    { numRuns: 40 },
  );
});

const view = (): NodeView => {
  const [first] = viewsOf(
    {
      nodes: [{ name: 'node-1', addresses: ['10.240.0.11'] }],
      namespaces: [],
      policies: [],
      pods: ['a/web', 'a/db', 'b/web'].map((pod, i) => ({
        namespace: pod.split('/')[0]!,
        name: pod.split('/')[1]!,
        node: 'node-1',
        labels: {},
        addresses: [`10.244.1.${i + 1}`],
        ports: [],
      })),
    },
    [
      {
        service: {
          metadata: { namespace: 'a', name: 'db' },
          spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
        } as never,
        slices: [
          {
            metadata: { name: 'x' },
            addressType: 'IPv4',
            ports: [{ port: 8080, protocol: 'TCP' }],
            endpoints: [{ addresses: ['10.244.1.2'] }, { addresses: ['10.244.1.3'] }],
          } as never,
        ],
      },
    ],
  ).values();
  return first!;
};

test('filters pick by namespace, service and pod', () => {
  const pods = (filter: object) => dump('pods', source(view()), filter).map(({ pod }) => pod);
  assert.deepEqual(pods({}), ['a/web', 'a/db', 'b/web']);
  assert.deepEqual(pods({ namespace: 'a' }), ['a/web', 'a/db']);
  assert.deepEqual(pods({ pod: 'web' }), ['a/web', 'b/web']);
  assert.deepEqual(pods({ pod: 'b/web' }), ['b/web']);
  const backends = (filter: object) =>
    dump('backends', source(view()), filter).map(({ pod, share }) => [pod, share]);
  assert.deepEqual(backends({ service: 'a/db' }), [
    ['a/db', 0.5],
    ['b/web', 0.5],
  ]);
  assert.deepEqual(backends({ service: 'b/db' }), []);
  assert.deepEqual(backends({ pod: 'b/web' }), [['b/web', 0.5]]);
});

test('connections carry the names of their ends, and of the backend behind a service', () => {
  const flows = [{ ...flow, backend: { address: '10.244.1.2', port: 8080 } }];
  const rows = (filter: object) => dump('conntrack', source(view(), flows), filter);
  assert.deepEqual(
    rows({}).map(({ src, srcName, dst, dstName, backend, backendName }) => [
      src,
      srcName,
      dst,
      dstName,
      backend,
      backendName,
    ]),
    [['10.244.1.1:4000', 'a/web', '10.96.0.1:80', 'service a/db', '10.244.1.2:8080', 'a/db']],
  );
  assert.equal(rows({ service: 'db' }).length, 1);
  assert.equal(rows({ service: 'web' }).length, 0);
  assert.equal(rows({ pod: 'a/db' }).length, 1);
  assert.equal(rows({ namespace: 'b' }).length, 0);
});

test('what the kernel tracks tells who answers and as whom the client is seen', () => {
  const tuple = (src: string, srcPort: number, dst: string, dstPort: number) => ({
    src,
    srcPort,
    dst,
    dstPort,
    protocol: 6,
  });
  const tracked = trackedFlow({
    original: tuple('10.0.0.1', 4000, '10.96.0.1', 80),
    reply: tuple('10.244.1.2', 8080, '10.240.0.11', 5000),
    status: 2,
    timeout: 30,
    tcpState: 'established',
  });
  assert.deepEqual(tracked.backend, { address: '10.244.1.2', port: 8080 });
  assert.deepEqual(tracked.seenAs, { address: '10.240.0.11', port: 5000 });
  assert.equal(tracked.state, 'established');
  const plain = trackedFlow({
    original: tuple('10.0.0.1', 4000, '10.0.0.2', 80),
    reply: tuple('10.0.0.2', 80, '10.0.0.1', 4000),
    status: 0,
    timeout: undefined,
  });
  assert.deepEqual([plain.backend, plain.seenAs, plain.state], [undefined, undefined, 'unanswered']);
});
