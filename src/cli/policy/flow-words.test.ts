/** Every kind of flow that policies tell apart can be asked about, by flags and in cases; what makes no sense is refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { schemaViolations } from '../../../test/schema.ts';
import { run } from './test-run.ts';

const pod = (name: string, more = ''): string => `apiVersion: v1
kind: Pod
metadata: { namespace: a, name: ${name}, labels: { app: ${name}${more} } }
spec: { containers: [{ name: x, image: y, ports: [{ name: web, containerPort: 80 }] }] }
`;

const world = [
  pod('web'),
  pod('db'),
  pod('old', ', istio.io/dataplane-mode: none'),
  `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { namespace: a, name: db }
spec:
  endpointSelector: { matchLabels: { app: db } }
  ingress:
    - toPorts: [{ ports: [{ port: "80", protocol: TCP }], rules: { http: [{ method: POST, path: "/shop[.]Cart/Add" }] } }]
    - toPorts: [{ ports: [{ port: "9092", protocol: TCP }], rules: { kafka: [{ apiKey: produce, topic: orders }] } }]
    - icmps: [{ fields: [{ family: IPv4, type: 8 }] }]
    - toPorts: [{ ports: [{ port: "443", protocol: TCP }] }]
`,
  `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { namespace: a, name: names }
spec:
  endpointSelector: { matchLabels: { app: web } }
  egress:
    - toCIDR: [10.96.0.10/32]
      toPorts: [{ ports: [{ port: "53", protocol: ANY }], rules: { dns: [{ matchPattern: "*.example.com" }] } }]
    - toEndpoints: [{}]
`,
  `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { namespace: a, name: old }
spec:
  selector: app == 'old'
  types: [Ingress]
  ingress:
    - { action: Allow, protocol: TCP, source: { ports: [1500] }, destination: { ports: [80] } }
    - { action: Allow, protocol: 47 }
`,
  `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { namespace: a, name: strict }
spec: { selector: { matchLabels: { app: db } }, mtls: { mode: STRICT } }
`,
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { namespace: a, name: asked }
spec:
  selector: { matchLabels: { app: db } }
  action: CUSTOM
  provider: { name: opa }
  rules: [{ to: [{ operation: { ports: ["443"] } }] }]
`,
].join('---\n');

const ends = ['--from', 'a/web', '--to', 'a/db'];
const names = ['--from', 'a/web', '--to', '10.96.0.10'];
const old = ['--from', 'a/web', '--to', 'a/old'];

const flows: readonly (readonly [args: readonly string[], verdict: 'allow' | 'deny', words: RegExp])[] = [
  [[...ends, '--port', 'web', '--grpc', 'shop.Cart/Add'], 'allow', /TCP 80 gRPC shop\.Cart\/Add/],
  [[...ends, '--port', '80', '--grpc', 'shop.Cart/Drop'], 'deny', /gRPC shop\.Cart\/Drop/],
  [[...ends, '--port', '80', '--not-http'], 'deny', /TCP 80 not HTTP/],
  [[...ends, '--port', '9092', '--kafka', 'produce orders'], 'allow', /kafka produce orders/],
  [[...ends, '--port', '9092', '--kafka', 'Produce bills version=3 client=x'], 'deny', /kafka produce bills/],
  [[...ends, '--icmp', '8'], 'allow', /ICMP type 8 code 0/],
  [[...ends, '--icmp', '3/4'], 'deny', /ICMP type 3 code 4/],
  [[...names, '--dns', 'api.example.com'], 'allow', /UDP 53 dns api\.example\.com/],
  [[...names, '--dns', 'api.example.org', '--protocol', 'tcp'], 'deny', /TCP 53 dns api\.example\.org/],
  [[...old, '--port', '80', '--source-port', '1500'], 'allow', /TCP 80 from port 1500/],
  [[...old, '--port', '80'], 'deny', /TCP 80\n/],
  [[...old, '--protocol', '47'], 'allow', /protocol 47\n/],
  [[...ends, '--port', '443'], 'allow', /asks opa/],
  [[...ends, '--port', '443', '--authorizer', 'opa=deny'], 'deny', /its authorizer says no/],
  [[...ends, '--port', '443', '--tls', 'simple', '--sni', 'db.example'], 'deny', /STRICT needs mutual TLS/],
  [[...ends, '--port', '443', '--principal', 'spiffe://cluster.local/ns/a/sa/x'], 'allow', /asks opa/],
];

for (const [args, verdict, words] of flows)
  test(`heddle policy explain ${args.slice(4).join(' ')} is ${verdict}`, async () => {
    const { code, out, err } = await run(['explain', '-f', '-', ...args], world);
    assert.equal(code, verdict === 'allow' ? 0 : 1, out + err);
    assert.match(out, words);
    const json = JSON.parse((await run(['explain', '-f', '-', ...args, '-o', 'json'], world)).out);
    assert.deepEqual(schemaViolations('policy-explain', json), []);
  });

for (const [args, words] of [
  [['--port', '80', '--http', 'GET /x', '--dns', 'x.y'], /--http and --dns: one flow carries one request/],
  [['--port', '80', '--grpc', 'Cart'], /--grpc "Cart": expected a service and a method/],
  [['--dns', 'a b'], /--dns "a b": expected a domain name/],
  [['--port', '1', '--kafka', 'produced x'], /"produced" is no request of Kafka's/],
  [['--port', '1', '--kafka', 'produce a b'], /expected a request, its topic if it has one/],
  [['--port', '1', '--protocol', 'udp', '--kafka', 'fetch'], /--kafka: such requests go over TCP, not UDP/],
  [['--icmp', '8', '--dns', 'x'], /--dns: such requests go over UDP or TCP, not ICMP/],
  [['--dns', 'x', '-H', 'a: b'], /headers and claims are of a request: --http or --grpc is missing/],
  [['--icmp', '300'], /--icmp "300": expected a type, or a type and a code/],
  [['--icmp', '8', '--protocol', 'tcp', '--port', '1'], /--icmp: messages of ICMP are no TCP/],
  [['--icmp', '8', '--port', '80'], /--port "80": ICMP has no ports/],
  [['--protocol', '47', '--source-port', '80'], /--source-port "80": that protocol has no ports/],
  [['--protocol', '256'], /--protocol "256": expected tcp, udp, sctp, icmp or a number from 1 to 255/],
  [['--port', '80', '--source-port', 'http'], /--source-port "http": expected 1 to 65535 \[BadFlag/],
  [['--port', '80', '--tls', 'on'], /--tls "on": expected mutual, simple, none/],
  [['--port', '80', '--tls', 'none', '--principal', 'x'], /--principal: who comes with --tls none/],
  [['--port', '80', '--tls', 'none', '--sni', 'x'], /--sni: without TLS/],
  [['--port', '80', '--protocol', 'udp', '--tls', 'none'], /--tls: proxies take TCP alone, not UDP/],
  [['--port', '80', '--remote', 'x'], /--remote "x": expected an address/],
  [['--port', '80', '--authorizer', 'opa'], /--authorizer "opa": expected its name and an answer/],
  [['--port', ''], /--port "": expected 1 to 65535, or the name of a port of the destination/],
  [[], /--port is missing: TCP has ports/],
] as const)
  test(`heddle policy explain ${args.join(' ')} is refused`, async () => {
    const { code, out, err } = await run(['explain', '-f', '-', ...ends, ...args], world);
    assert.deepEqual([code, out], [2, ''], err);
    assert.match(err, words);
  });

test('cases ask about every kind of flow too, and name the field that makes no sense', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-cases-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const estate = file('world.yaml', world);
  const cases = file(
    'cases.yaml',
    `- { from: a/web, to: a/db, port: web, grpc: shop.Cart/Add, expect: allow }
- { from: a/web, to: a/db, port: 80, grpc: { request: shop.Cart/Drop, headers: { x-a: b } }, expect: deny }
- { from: a/web, to: a/db, port: 80, notHttp: true, expect: deny }
- { from: a/web, to: a/db, port: 9092, kafka: { request: produce, topic: orders, client: x }, expect: allow }
- { from: a/web, to: a/db, port: 9092, kafka: fetch orders, expect: deny }
- { from: a/web, to: 10.96.0.10, dns: api.example.com, expect: allow }
- { from: a/web, to: a/db, icmp: 8, expect: allow }
- { from: a/web, to: a/db, icmp: 3/4, expect: deny }
- { from: a/web, to: a/old, port: 80, sourcePort: 1500, expect: allow }
- { from: a/web, to: a/old, protocol: 47, expect: allow }
- { from: a/web, to: a/db, port: 443, authorizers: { opa: deny }, expect: deny }
- { from: a/web, to: a/db, port: 443, tls: none, expect: deny }
`,
  );
  const { code, out, err } = await run(['test', '-f', estate, cases]);
  assert.equal(code, 0, out + err);
  assert.match(out, /✓ a\/web → a\/db ICMP type 3 code 4: deny\n/);
  for (const [fields, words] of [
    ['port: 80, icmp: 8', /q\.yaml:1: port "80": ICMP has no ports/],
    ['port: 80, http: GET /x, kafka: fetch', /q\.yaml:1: http and kafka: one flow carries one request/],
    ['port: 80, tls: none, sni: x', /q\.yaml:1: sni: without TLS/],
    ['port: 80, notHttp: maybe', /q\.yaml:1: notHttp: expected true or false/],
    ['port: 80, kafka: { topic: x }', /q\.yaml:1: request is missing/],
    ['', /q\.yaml:1: port is missing/],
  ] as const) {
    const path = file(
      'q.yaml',
      `- { from: a/web, to: a/db, ${fields === '' ? '' : `${fields}, `}expect: deny }\n`,
    );
    const told = await run(['test', '-f', estate, path]);
    assert.equal(told.code, 2, told.out);
    assert.match(told.err, words);
  }
});

test('the flags are in the help', async () => {
  const { out } = await run(['explain', '--help']);
  for (const flag of ['--grpc', '--dns', '--kafka', '--not-http', '--icmp', '--source-port', '--tls'])
    assert.ok(out.includes(flag), flag);
});
