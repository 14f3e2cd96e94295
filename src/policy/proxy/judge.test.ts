/** Requests judged by tables and what a proxy is given, against the decision read from the objects. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress } from '../../lib/ip.ts';
import { protocolNumbers } from '../../lib/protocols.ts';
import { compile } from '../compile.ts';
import { createDecider } from '../decide.ts';
import type { Direction, Side } from '../decision.ts';
import { createIdentify, createLookup, type WireFlow } from '../lookup.ts';
import type { PolicyObject } from '../objects.ts';
import { calicoFlows, calicoWorlds } from '../testing/calico-policies.ts';
import { portWorlds, requestsIn } from '../testing/cilium-policies.ts';
import { flowOf } from '../testing/flow-text.ts';
import { canonical } from '../scene.ts';
import { modelOf, type PlainRule } from '../testing/plain-policies.ts';
import { fullFlowsIn, sourcelessWorlds } from '../testing/plain-worlds.ts';
import type { Request } from '../request.ts';
import { wireFlow } from '../wire-flow.ts';
import type { Flow, World } from '../world.ts';
import { type CompiledForProxy, compileForProxy } from './compile.ts';
import { createRequestJudge, judgeRequest, type ProxyConnection } from './judge.ts';

/** What the data path knows of a connection that it hands over. */
function connectionsOf({ tables }: CompiledForProxy): (flow: WireFlow, at: Direction) => ProxyConnection {
  const identify = createIdentify(tables);
  return (flow, at) => {
    const [here, there] = at === 'egress' ? [flow.src, flow.dst] : [flow.dst, flow.src];
    return {
      table: tables.endpoints.get(here)![at],
      identity: identify(parseAddress(there)),
      protocol: flow.protocol === 'UDP' ? protocolNumbers.UDP : protocolNumbers.TCP,
      port: flow.port!,
    };
  };
}

const said = ({ verdict, ruleNumber, auth, audit }: Side) => ({
  verdict,
  rule: ruleNumber,
  ...(auth ? { auth } : {}),
  audit: { verdict: audit.verdict, rule: audit.ruleNumber },
});

const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

interface Seen {
  handed: number;
  denied: number;
  audited: number;
}

/** Every side of these requests: by the tables where they decide, else by what the proxy has. */
function check(world: World, flows: readonly Flow[], seen: Seen): void {
  const compiled = compileForProxy(world);
  const connectionOf = connectionsOf(compiled);
  const [decide, look] = [createDecider(world), createLookup(compiled.tables)];
  const judge = createRequestJudge(sent(compiled.requests));
  const compare = (flow: Flow, wire: WireFlow, request: Request): void => {
    const [decided, looked] = [decide({ ...flow, request }), look(wire)];
    for (const at of ['egress', 'ingress'] as const) {
      const [side, own] = [decided[at], looked[at]];
      if (!own.redirect) {
        assert.equal(own.verdict, side.verdict);
        if (own.verdict === 'deny') assert.equal(own.ruleNumber, side.ruleNumber);
        continue;
      }
      const judged = judge(connectionOf(wire, at), request);
      assert.deepEqual(judged, said(side));
      for (const { rule, verdict } of [judged, judged.audit])
        if (rule !== 0 || verdict === 'deny') assert.ok(compiled.requests.rules[rule]);
      seen.handed++;
      if (judged.verdict === 'deny') seen.denied++;
      if (judged.audit.verdict !== judged.verdict) seen.audited++;
    }
  };
  for (const flow of flows) if (flow.request) compare(flow, wireFlow(world, flow), flow.request);
  const requests = new Set(flows.flatMap(({ request }) => request ?? []));
  for (const wire of handedOver(world, compiled))
    for (const request of requests) {
      if (wire.protocol === 'UDP' && request.type !== 'dns') continue;
      const { src, dst, ...rest } = wire;
      compare({ ...rest, src: { address: src }, dst: { address: dst } }, wire, request);
    }
}

/** All of these ports between these addresses that a table hands over. */
function handedOver(world: World, { tables, requests }: CompiledForProxy): WireFlow[] {
  const handing = new Set(requests.tables.map(({ table }) => table));
  if (handing.size === 0) return [];
  const look = createLookup(tables);
  const addresses = [...world.pods.flatMap((pod) => pod.addresses.map(canonical)), ...OTHERS];
  const mayHand = (address: string, at: Direction): boolean =>
    handing.has(tables.endpoints.get(address)?.[at] ?? 0);
  return addresses.flatMap((src) =>
    addresses
      .filter((dst) => dst.includes(':') === src.includes(':'))
      .filter((dst) => mayHand(src, 'egress') || mayHand(dst, 'ingress'))
      .flatMap((dst) => PORTS.map(([protocol, port]): WireFlow => ({ src, dst, protocol, port })))
      .filter((wire) => {
        const { egress, ingress } = look(wire);
        return egress.redirect || ingress.redirect;
      }),
  );
}

const OTHERS = ['8.8.8.8', '10.244.9.9', '2001:db8::1'];
const PORTS = [
  ['TCP', 53],
  ['TCP', 80],
  ['TCP', 81],
  ['TCP', 443],
  ['UDP', 53],
] as const;

for (const [whose, worlds, flowsIn, audits] of [
  ['Cilium’s', portWorlds, requestsIn, false],
  ['Calico’s', calicoWorlds({ fine: false, requests: true }), calicoFlows, false],
  ['the model’s', sourcelessWorlds, fullFlowsIn, true],
] as const)
  test(`tables and a proxy together say of requests what ${whose} policies say`, () => {
    const draws = worlds.chain((world) =>
      fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }).map((flows) => ({ world, flows })),
    );
    const seen: Seen = { handed: 0, denied: 0, audited: 0 };
    fc.assert(
      fc.property(draws, ({ world, flows }) => check(world, flows, seen)),
      { numRuns: 300 },
    );
    assert.ok(seen.handed > 300 && seen.denied > 100, JSON.stringify(seen));
    if (audits) assert.ok(seen.audited > 0, JSON.stringify(seen));
  });

const pod = (name: string, last: number, more: Partial<World['pods'][number]> = {}) => ({
  namespace: 'shop',
  name,
  node: 'n',
  labels: { app: name },
  addresses: [`10.1.0.${last}`],
  ports: [],
  ...more,
});

const cilium = (name: string, spec: object): PolicyObject =>
  ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name },
    spec,
  }) as unknown as PolicyObject;

const shop: World = {
  pods: [pod('web', 1), pod('db', 2), pod('spy', 3), pod('free', 4)],
  namespaces: [],
  nodes: [],
  policies: [
    cilium('read', {
      endpointSelector: { matchLabels: { app: 'db' } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { app: 'web' } }],
          toPorts: [
            {
              ports: [{ port: '80', protocol: 'TCP' }],
              rules: {
                http: [
                  { method: 'GET', path: '/a/.*' },
                  { method: 'PUT', headers: ['X-Team: blue'] },
                ],
              },
            },
          ],
        },
      ],
    }),
  ],
};

test('rules for requests are plain data: who, on which ports, what is asked, and which rule that is', () => {
  const { tables, requests } = compileForProxy(shop);
  const [number] = [...tables.rules].find(([, { verdict }]) => verdict === 'redirect')!;
  const [table] = requests.tables;
  assert.equal(requests.tables.length, 1);
  assert.equal(table!.table, tables.endpoints.get('10.1.0.2')!.ingress);
  assert.deepEqual(
    table!.entries.map(({ identity, protocol, ports }) => [identity, protocol, ports]),
    [[tables.identities.get('10.1.0.1/32'), 6, [80, 80]]],
  );
  const [asked] = Object.keys(requests.requests);
  assert.deepEqual(requests.sets[table!.entries[0]!.set], {
    enforced: [{ rules: [{ rule: number, requests: asked }] }],
  });
  assert.deepEqual(requests.requests[asked!], [
    { type: 'http', method: { is: 'regex', value: 'GET' }, target: { is: 'regex', value: '/a/.*' } },
    {
      type: 'http',
      method: { is: 'regex', value: 'PUT' },
      headers: [{ name: 'X-Team', value: { is: 'exact', values: ['blue'] } }],
    },
  ]);
  assert.equal(requests.rules[number]?.text, 'CiliumNetworkPolicy shop/read spec.ingress[0].toPorts[0]');
  assert.deepEqual(sent(requests), requests);
});

test('a proxy judges by what it was sent', () => {
  const compiled = compileForProxy(shop);
  const rules = sent(compiled.requests);
  const connection = connectionsOf(compiled)(wireFlow(shop, flowOf('shop/web > shop/db TCP 80')), 'ingress');
  const verdict = (text: string) =>
    judgeRequest(rules, connection, flowOf(`shop/web > shop/db TCP 80 ${text}`).request!).verdict;
  assert.equal(verdict('GET /a/1'), 'allow');
  assert.equal(verdict('GET /b'), 'deny');
  assert.equal(verdict('PUT /b header:x-team=blue'), 'allow');
  assert.equal(verdict('PUT /b header:x-team=red'), 'deny');
  assert.equal(verdict('bytes'), 'deny');
});

test('the strictest proof that rules for a request ask for names the rule; those that hand on ask none of others', () => {
  const rule = (more: Partial<PlainRule>): PlainRule => ({
    direction: 'ingress',
    verdict: 'allow',
    priority: 1,
    peers: null,
    ports: [{ protocol: 'TCP', first: 80, last: 80 }],
    ...more,
  });
  const object = modelOf({
    namespace: 'shop',
    name: 'proofs',
    tier: 1_000_000,
    audited: false,
    isolates: { ingress: true, egress: false },
    subject: { namespace: 'shop', labels: { app: 'db' } },
    rules: [
      rule({ paths: ['/a'], onward: true, auth: 'required' }),
      rule({ paths: ['/a', '/b'], onward: true, auth: 'test-always-fail' }),
      rule({ paths: ['/c'] }),
    ],
  });
  const world: World = { ...shop, policies: [object] };
  const flows = ['/a', '/b', '/c', '/d'].map((path) => flowOf(`shop/web > shop/db TCP 80 GET ${path}`));
  const seen: Seen = { handed: 0, denied: 0, audited: 0 };
  check(world, flows, seen);
  assert.ok(seen.denied > 0);
  const compiled = compileForProxy(world);
  const connection = connectionsOf(compiled)(wireFlow(world, flows[0]!), 'ingress');
  const judged = flows.map(({ request }) => judgeRequest(compiled.requests, connection, request!));
  assert.deepEqual(
    judged.map(({ verdict, rule: number, auth }) => {
      const { origin } = compiled.requests.rules[number]!;
      return [verdict, 'path' in origin ? origin.path : origin, auth];
    }),
    [
      ['allow', 'spec.rules[1]', 'test-always-fail'],
      ['allow', 'spec.rules[1]', 'test-always-fail'],
      ['allow', 'spec.rules[2]', undefined],
      ['deny', 'spec.rules[2]', undefined],
    ],
  );
});

test('what was never handed over is denied, by no rule', () => {
  const rules = compileForProxy(shop).requests;
  const request = { type: 'http', method: 'GET', path: '/a/1' } as const;
  const denied = { verdict: 'deny', rule: 0 };
  const { table, entries } = rules.tables[0]!;
  const [{ identity } = { identity: 0 }] = entries;
  for (const connection of [
    { table: table + 1, identity, protocol: 6, port: 80 },
    { table, identity: 0, protocol: 6, port: 80 },
    { table, identity, protocol: 17, port: 80 },
    { table, identity, protocol: 6, port: 81 },
  ])
    assert.deepEqual(judgeRequest(rules, connection, request), { ...denied, audit: denied });
});

test('a world without rules for requests has nothing for a proxy, and the tables are those of compile', () => {
  const plain: World = { ...shop, policies: [] };
  assert.deepEqual(compileForProxy(plain).requests, { tables: [], sets: {}, requests: {}, rules: {} });
  const { newRules: _, ...tables } = compileForProxy(shop).tables;
  const { newRules: __, ...expected } = compile(shop);
  assert.deepEqual(tables, expected);
});
