/** Addresses and node ports of Services. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { contains, parseAddress, parseCidr } from '../lib/ip.ts';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness();
});
after(() => api.close());

const path = '/api/v1/namespaces/default/services';
const MERGE = 'application/merge-patch+json';
const RANGES = ['10.96.0.0/16', 'fd00:10:96::/112'].map(parseCidr);

const create = (name: string, spec: object = {}) =>
  api.request('POST', path, { body: { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } } });
const change = (name: string, spec: object) =>
  api.request('PATCH', `${path}/${name}`, { type: MERGE, body: { spec } });

test('a service gets an address of each family by default', async () => {
  const { spec } = (await create('plain')).json;
  assert.equal(spec.ipFamilyPolicy, 'PreferDualStack');
  assert.deepEqual(spec.ipFamilies, ['IPv4', 'IPv6']);
  assert.equal(spec.clusterIP, spec.clusterIPs[0]);
  for (const [i, range] of RANGES.entries()) assert.ok(contains(range, parseAddress(spec.clusterIPs[i])));
});

test('families and policies are followed', async () => {
  const of = async (name: string, spec: object) => {
    const { spec: made } = (await create(name, spec)).json;
    return [made.ipFamilyPolicy, made.ipFamilies.join(), made.clusterIPs.length];
  };
  assert.deepEqual(await of('f1', { ipFamilyPolicy: 'SingleStack' }), ['SingleStack', 'IPv4', 1]);
  assert.deepEqual(await of('f2', { ipFamilies: ['IPv6'] }), ['SingleStack', 'IPv6', 1]);
  assert.deepEqual(await of('f3', { ipFamilies: ['IPv6'], ipFamilyPolicy: 'PreferDualStack' }), [
    'PreferDualStack',
    'IPv6,IPv4',
    2,
  ]);
  assert.deepEqual(await of('f4', { ipFamilies: ['IPv6', 'IPv4'] }), ['RequireDualStack', 'IPv6,IPv4', 2]);
  assert.deepEqual(await of('f5', { clusterIP: 'fd00:10:96::77' }), ['PreferDualStack', 'IPv6,IPv4', 2]);
});

test('headless and ExternalName services get none', async () => {
  const headless = (await create('headless', { clusterIP: 'None' })).json.spec;
  assert.deepEqual(headless.clusterIPs, ['None']);
  assert.deepEqual(headless.ipFamilies, ['IPv4', 'IPv6']);
  const external = (await create('external', { type: 'ExternalName', externalName: 'example.org' })).json
    .spec;
  assert.equal(external.clusterIP, undefined);
  assert.equal(external.ipFamilies, undefined);
});

test('an address that is asked for is given once, and only from the range', async () => {
  assert.equal((await create('asked', { clusterIP: '10.96.7.7' })).json.spec.clusterIP, '10.96.7.7');
  const taken = await create('taken', { clusterIP: '10.96.7.7' });
  assert.equal(taken.status, 422);
  assert.match(taken.json.message, /provided IP is already allocated/);
  const outside = await create('outside', { clusterIP: '10.97.0.1' });
  assert.equal(outside.status, 422);
  assert.match(outside.json.message, /not in the valid range\. The range of valid IPs is 10\.96\.0\.0\/16/);
  await api.request('DELETE', `${path}/asked`);
  assert.equal((await create('taken', { clusterIP: '10.96.7.7' })).status, 201);
});

test('a refused or dry create gives back what it claimed', async () => {
  assert.equal((await create('dry?dryRun=All', {})).status, 422);
  const dry = await api.request('POST', `${path}?dryRun=All`, {
    body: { metadata: { name: 'dry' }, spec: { clusterIP: '10.96.8.8', ports: [{ port: 1 }] } },
  });
  assert.equal(dry.status, 201);
  const half = await create('half', { clusterIPs: ['10.96.8.8', 'fd00:10:97::1'] });
  assert.equal(half.status, 422);
  assert.equal((await create('whole', { clusterIP: '10.96.8.8' })).status, 201);
});

test('a service keeps its addresses through updates that leave them out', async () => {
  const made = (await create('kept', { type: 'NodePort' })).json;
  const body = {
    metadata: { name: 'kept' },
    spec: { type: 'NodePort', ports: [{ port: 80 }], selector: { a: 'b' } },
  };
  const { spec } = (await api.request('PUT', `${path}/kept`, { body })).json;
  assert.deepEqual(spec.clusterIPs, made.spec.clusterIPs);
  assert.equal(spec.ports[0].nodePort, made.spec.ports[0].nodePort);
  assert.equal((await change('kept', { clusterIP: '10.96.9.9', clusterIPs: ['10.96.9.9'] })).status, 422);
});

test('the type may change, and addresses come and go with it', async () => {
  const made = (await create('typed')).json.spec;
  const external = (await change('typed', { type: 'ExternalName', externalName: 'example.org' })).json.spec;
  assert.equal(external.clusterIP, undefined);
  assert.equal((await create('heir', { clusterIP: made.clusterIP })).status, 201);
  const back = (await change('typed', { type: 'ClusterIP', externalName: null })).json.spec;
  assert.equal(back.clusterIPs.length, 2);
  assert.notEqual(back.clusterIP, made.clusterIP);
});

test('families may be added and taken away', async () => {
  const first = (await create('stack', { ipFamilyPolicy: 'SingleStack' })).json.spec;
  const dual = (await change('stack', { ipFamilyPolicy: 'PreferDualStack' })).json.spec;
  assert.equal(dual.clusterIPs.length, 2);
  assert.equal(dual.clusterIPs[0], first.clusterIP);
  const single = (await change('stack', { ipFamilyPolicy: 'SingleStack' })).json.spec;
  assert.deepEqual(single.clusterIPs, [first.clusterIP]);
  assert.equal((await create('second', { clusterIP: dual.clusterIPs[1] })).status, 201);
});

test('node ports are given, honoured, refused when taken, and dropped with the type', async () => {
  const given = (await create('np1', { type: 'NodePort' })).json.spec.ports[0].nodePort;
  assert.ok(given >= 30_000 && given <= 32_767);
  assert.equal(
    (await create('np2', { type: 'NodePort', ports: [{ port: 1, nodePort: given }] })).status,
    422,
  );
  const outside = await create('np3', { type: 'NodePort', ports: [{ port: 1, nodePort: 80 }] });
  assert.match(outside.json.message, /The range of valid ports is 30000-32767/);
  const udp = await create('np4', {
    type: 'NodePort',
    ports: [{ port: 1, protocol: 'UDP', nodePort: given }],
  });
  assert.equal(udp.status, 201);
  const dropped = (await change('np1', { type: 'ClusterIP' })).json.spec;
  assert.equal(dropped.ports[0].nodePort, undefined);
  assert.equal(
    (await create('np5', { type: 'NodePort', ports: [{ port: 1, nodePort: given }] })).status,
    201,
  );
});

test('a LoadBalancer gets node ports, unless it wants none', async () => {
  const made = await create('lb', { type: 'LoadBalancer' });
  assert.equal(made.headers.warning, undefined);
  assert.ok(made.json.spec.ports[0].nodePort >= 30_000);
  const none = await create('lb-none', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false });
  assert.equal(none.json.spec.ports[0].nodePort, undefined);
});

test('a LoadBalancer whose traffic is Local gets a port for health checks, and keeps it', async () => {
  const local = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' };
  const port = (await create('checked', local)).json.spec.healthCheckNodePort;
  assert.ok(port >= 30_000 && port <= 32_767);
  const kept = await change('checked', { healthCheckNodePort: null });
  assert.equal(kept.json.spec.healthCheckNodePort, port);
  const moved = await change('checked', { healthCheckNodePort: port === 31_000 ? 31_001 : 31_000 });
  assert.match(moved.json.message, /spec\.healthCheckNodePort: Invalid value: \d+: field is immutable/);
  const taken = await create('taken-check', { ...local, healthCheckNodePort: port });
  assert.equal(taken.status, 422);
  assert.match(
    taken.json.message,
    /failed to allocate requested HealthCheck NodePort \d+: provided port is already allocated/,
  );
  const node = { type: 'NodePort', ports: [{ port: 1, nodePort: port }] };
  assert.match((await create('taken-node', node)).json.message, /provided port is already allocated/);
  const dropped = await change('checked', { externalTrafficPolicy: 'Cluster' });
  assert.equal(dropped.json.spec.healthCheckNodePort, undefined);
  assert.equal((await create('heir-check', node)).status, 201);
});

test("a balancer's addresses are written by /status only, and by its type gone with it", async () => {
  await create('given', { type: 'LoadBalancer' });
  const status = { loadBalancer: { ingress: [{ ip: '10.240.1.7' }] } };
  const asUser = await api.request('PATCH', `${path}/given`, { type: MERGE, body: { status } });
  assert.deepEqual(asUser.json.status.loadBalancer, {});
  const written = await api.request('PATCH', `${path}/given/status`, { type: MERGE, body: { status } });
  assert.deepEqual(written.json.status.loadBalancer.ingress, [{ ip: '10.240.1.7', ipMode: 'VIP' }]);
  const wrong = {
    loadBalancer: {
      ingress: [
        { ip: 'here', ipMode: 'Sometimes' },
        { hostname: 'a', ipMode: 'VIP' },
      ],
    },
  };
  const refused = await api.request('PATCH', `${path}/given/status`, {
    type: MERGE,
    body: { status: wrong },
  });
  assert.equal(refused.status, 422);
  assert.match(refused.json.message, /ingress\[0\]\.ip: Invalid value: "here": must be a valid IP address/);
  assert.match(refused.json.message, /ingress\[0\]\.ipMode: Unsupported value: "Sometimes"/);
  assert.match(
    refused.json.message,
    /ingress\[1\]\.ipMode: Forbidden: may not be specified when `ip` is not set/,
  );
  const plain = await change('given', { type: 'ClusterIP' });
  assert.deepEqual(plain.json.status.loadBalancer, {});
});

test('services made at once never share an address, and all survive a restart', async () => {
  const made = await Promise.all(Array.from({ length: 60 }, (_, i) => create(`many-${i}`)));
  const all = made.flatMap(({ json }) => json.spec.clusterIPs as string[]);
  assert.equal(new Set(all).size, 120);
  await api.restart();
  const again = await create('late', { clusterIP: all[0] });
  assert.match(again.json.message, /already allocated/);
});

test('a full range is said to be full', async (t) => {
  const small = await startHarness({ serviceCidrs: ['10.1.0.0/29'] });
  t.after(() => small.close());
  // Five of six remain: the first is the API server's own.
  const codes: number[] = [];
  for (let i = 0; i < 6; i++) {
    const body = { metadata: { name: `s${i}` }, spec: { ports: [{ port: 80 }] } };
    const answer = await small.request('POST', path, { body });
    codes.push(answer.status);
    if (answer.status === 422) assert.match(answer.json.message, /range 10\.1\.0\.0\/29 is full/);
  }
  assert.deepEqual(codes, [201, 201, 201, 201, 201, 422]);
});
