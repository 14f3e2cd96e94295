import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Pod } from '../../api/types.ts';
import { behaviourOf, behaviourProblems } from './behaviour.ts';
import { budgetOf, formatBudget, MOST, share } from './call-budget.ts';
import { latencyAt, parseLatency } from './latency.ts';
import { traceHeaders } from './trace.ts';

const annotated = (annotations: Record<string, string>) =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', annotations } }) as Pod;
const asked = (annotations: Record<string, string>) =>
  behaviourOf(
    annotated(
      Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`heddle.dev/stand-in-${key}`, value]),
      ),
    ),
  );

test('a latency keeps to what was asked for, and grows with the share', () => {
  const ms = fc.integer({ min: 1, max: 60_000 });
  fc.assert(
    fc.property(ms, ms, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, u) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const uniform = parseLatency(`uniform(${low}ms, ${high}ms)`)!;
      assert.ok(latencyAt(uniform, u) >= low && latencyAt(uniform, u) <= high);
      const long = parseLatency(`p50=${low}ms, p99=${high}ms`)!;
      assert.ok(Math.abs(latencyAt(long, 0.5) - low) < 1e-6 * low);
      assert.ok(Math.abs(latencyAt(long, 0.99) - high) < 1e-6 * high);
      assert.ok(latencyAt(long, u) <= latencyAt(long, Math.min(1, u + 0.01)));
      assert.ok(latencyAt(long, u) <= 60_000);
      assert.equal(latencyAt(parseLatency(`${low}ms`)!, u), low);
      if (low < high) {
        assert.equal(parseLatency(`uniform(${high}ms,${low}ms)`), undefined);
        assert.equal(parseLatency(`p50=${high}ms,p99=${low}ms`), undefined);
      }
    }),
  );
});

test('annotations are read', () => {
  const { behaviour, problems } = asked({
    latency: '1.5s',
    'error-rate': '5%, status=503, grpc=INTERNAL',
    calls: 'http://cart/, http://[fd00::7]:8080/charge?x=1\ngrpc://catalog:9000',
    'calls-order': 'sequence',
    'calls-timeout': '2s',
    rate: '30/m',
  });
  assert.deepEqual(problems, []);
  assert.deepEqual(behaviour, {
    latency: { kind: 'fixed', ms: 1500 },
    error: { share: 0.05, status: 503, grpc: 13 },
    calls: [
      { url: 'http://cart/', kind: 'http', host: 'cart', port: 80, path: '/' },
      {
        url: 'http://[fd00::7]:8080/charge?x=1',
        kind: 'http',
        host: 'fd00::7',
        port: 8080,
        path: '/charge?x=1',
      },
      { url: 'grpc://catalog:9000', kind: 'grpc', host: 'catalog', port: 9000, path: '/heddle.StandIn/Echo' },
    ],
    inOrder: true,
    timeoutMs: 2000,
    rate: 0.5,
  });
  assert.deepEqual(behaviourOf(annotated({})), { behaviour: undefined, problems: [] });
});

for (const [key, value, words] of [
  ['latency', '50', /must be a duration/],
  ['latency', '61s', /up to 60s/],
  ['latency', 'p50=0ms,p99=1s', /p50/],
  ['error-rate', '101%', /0% to 100%/],
  ['error-rate', '5', /0% to 100%/],
  ['error-rate', '5%,status=200', /400 to 599/],
  ['error-rate', '5%,grpc=toString', /grpc=CODE/],
  ['calls', '', /1 to 16 URLs/],
  ['calls', 'https://cart/', /https is not spoken/],
  ['calls', 'cart:80', /must be a URL/],
  ['calls', 'http://a:0/', /port/],
  ['calls', 'http://u:p@a/', /no user/],
  ['calls', 'grpc://a%zzb:1/', /host must be/],
  ['calls', Array.from({ length: 17 }, (_, i) => `http://a${i}/`).join(), /1 to 16 URLs/],
  ['rate', '1001/s', /to 1000\/s/],
  ['rate', '0/s', /an hour/],
  ['rate', '0.000001/m', /an hour/],
  ['rate', '2/s', /nothing to call/],
  ['calls-timeout', '0ms', /above 0/],
  ['calls-order', 'random', /parallel or sequence/],
  ['toString', 'x', /is not known/],
  ['latencey', '5ms', /is not known/],
] as const)
  test(`stand-in-${key}: "${value.slice(0, 20)}" is told, and what else is asked for stays`, () => {
    const { behaviour, problems } = asked({ 'calls-timeout': '3s', latency: '7ms', [key]: value });
    const mine = problems.filter((one) => one.startsWith(`heddle.dev/stand-in-${key}:`));
    assert.equal(mine.length, 1, problems.join());
    assert.match(mine[0]!, words);
    if (key !== 'latency') assert.deepEqual(behaviour?.latency, { kind: 'fixed', ms: 7 });
  });

test('any text is read or told of, and what is read can be called', () => {
  const key = fc.constantFrom(
    'latency',
    'error-rate',
    'calls',
    'calls-order',
    'calls-timeout',
    'rate',
    'other',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webUrl(),
    fc.string().map((one) => `http://${one}`),
  );
  fc.assert(
    fc.property(key, text, (name, value) => {
      const { behaviour, problems } = asked({ [name]: value });
      assert.ok(problems.length > 0 || behaviour !== undefined);
      for (const { port, path, host } of behaviour?.calls ?? []) {
        assert.ok(port > 0 && port < 65_536);
        assert.match(path, /^\/[\x21-\x7e]*$/);
        assert.match(host, /^[\w.:-]+$/);
      }
    }),
  );
});

test('annotations of stand-ins on a pod that is none are told', () => {
  const pod = annotated({ 'heddle.dev/stand-in-latency': '5ms' });
  assert.deepEqual(behaviourProblems(pod, 'stand-in'), []);
  assert.match(behaviourProblems(pod, 'process').join(), /is no stand-in/);
});

test('no tree of calls grows beyond its budget, whatever a request claims', () => {
  const size = (budget: ReturnType<typeof budgetOf>, fanOut: number): number => {
    const each = share(budget, fanOut);
    return typeof each === 'string' ? 0 : fanOut * (1 + size(each, fanOut));
  };
  const claim = fc.oneof(
    fc.string(),
    fc.tuple(fc.nat(2000), fc.nat(2000)).map(([hops, calls]) => `hops=${hops},calls=${calls}`),
    fc.constant(undefined),
  );
  fc.assert(
    fc.property(claim, fc.integer({ min: 1, max: 16 }), (header, fanOut) => {
      const budget = budgetOf(header);
      assert.ok(budget.hops <= MOST.hops && size(budget, fanOut) <= MOST.calls);
      assert.deepEqual(budgetOf(formatBudget(budget)), budget);
    }),
  );
});

const hex = (length: number) =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'.split('')), { minLength: length, maxLength: length })
    .map((digits) => digits.join(''))
    .filter((id) => !/^0+$/.test(id));
const random = (bytes: number) => 'ab'.repeat(bytes);

test('a trace goes on: its id and its verdict stay, each call has an id of its own', () => {
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), (trace, span, sampled) => {
      const w3c = traceHeaders(
        {
          traceparent: `00-${trace}-${span}-0${sampled ? 1 : 0}`,
          tracestate: 'a=1,b=2',
          'x-request-id': 'r',
        },
        random,
      );
      const flag = sampled ? '1' : '0';
      assert.deepEqual(w3c, {
        traceparent: `00-${trace}-${random(8)}-0${flag}`,
        tracestate: 'a=1,b=2',
        b3: `${trace}-${random(8)}-${flag}`,
        'x-request-id': 'r',
      });
      const single = traceHeaders({ b3: `${span}-${span}-${flag}`, tracestate: 'a=1' }, random);
      assert.equal(single['b3'], `${span}-${random(8)}-${flag}`);
      assert.equal(single['traceparent'], `00-${'0'.repeat(16)}${span}-${random(8)}-0${flag}`);
      assert.equal(single['tracestate'], undefined, 'means nothing without its traceparent');
      const multi = traceHeaders(
        { 'x-b3-traceid': trace, 'x-b3-spanid': span, 'x-b3-sampled': flag },
        random,
      );
      assert.equal(multi['x-b3-traceid'], trace);
      assert.equal(multi['x-b3-sampled'], flag);
      assert.equal(multi['traceparent'], w3c['traceparent']);
    }),
  );
});

test('a trace is begun where none came, or none that can be read', () => {
  const begun = `00-${random(16)}-${random(8)}-01`;
  for (const traceparent of [
    undefined,
    'nonsense',
    `ff-${'1'.repeat(32)}-${'1'.repeat(16)}-01`,
    `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
    `00-${'1'.repeat(32)}-${'0'.repeat(16)}-01`,
    `00-${'1'.repeat(32)}-${'1'.repeat(16)}-01-more`,
  ])
    assert.equal(traceHeaders({ traceparent }, random)['traceparent'], begun, String(traceparent));
  assert.match(
    traceHeaders({ traceparent: `cc-${'1'.repeat(32)}-${'1'.repeat(16)}-01-more` }, random)['traceparent']!,
    /^00-1{32}-/,
  );
  assert.match(traceHeaders({ b3: '0' }, random)['b3']!, /-0$/);
});
