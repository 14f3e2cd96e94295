/** Whatever changes Services go through, and at once: no address or node port is lost or given out twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Harness, startHarness } from './testing/harness.ts';

const path = '/api/v1/namespaces/default/services';
const MERGE = 'application/merge-patch+json';

const NAMES = ['a', 'b', 'c'];
const oneOf = fc.constantFrom;

/** Small ranges: what leaks is missed soon, and addresses that are asked for are often another's. */
const v4 = fc.integer({ min: 1, max: 14 }).map((n) => `10.1.0.${n}`);
const v6 = fc.integer({ min: 1, max: 15 }).map((n) => `fd00::${n.toString(16)}`);
const anything = fc.record(
  {
    type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
    externalName: oneOf('example.org', null),
    selector: oneOf({ app: 'x' }, null),
    ipFamilyPolicy: oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack', null),
    ipFamilies: oneOf(['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4'], null),
    clusterIP: fc.oneof(v4, v6, oneOf('None', null)),
    clusterIPs: fc.oneof(fc.tuple(v4, v6), fc.tuple(v6, v4), fc.tuple(v4), oneOf(['None'], null)),
    externalTrafficPolicy: oneOf('Local', 'Cluster', null),
    ports: oneOf(
      [{ port: 80 }],
      [{ port: 80, nodePort: 30_500 }],
      [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53 },
      ],
    ),
  },
  { requiredKeys: [] },
);
const policies = oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack');
/** What users do, and now and then anything at all, most of which is refused. */
const spec = fc.oneof(
  fc.record({ ipFamilyPolicy: policies }),
  fc.record({ ipFamilyPolicy: policies, clusterIPs: fc.constant(null), ipFamilies: fc.constant(null) }),
  fc.record({ ipFamilyPolicy: policies, type: oneOf('NodePort', 'LoadBalancer', 'ClusterIP') }),
  fc.record({ type: fc.constant('ExternalName'), externalName: fc.constant('example.org') }),
  fc.record({ type: fc.constant('LoadBalancer'), externalTrafficPolicy: oneOf('Local', 'Cluster') }),
  fc.record({ ipFamilyPolicy: policies, clusterIP: fc.oneof(v4, v6, fc.constant('None')) }),
  anything,
);
const step = fc.record({
  name: oneOf(...NAMES),
  verb: oneOf('POST', 'POST', 'POST', 'PATCH', 'PATCH', 'PATCH', 'PUT', 'DELETE', 'finish'),
  dry: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
  finalizer: fc.boolean(),
  spec,
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function apply(api: Harness, { name, verb, dry, finalizer, spec: given }: Step) {
  const at = `${path}${verb === 'POST' ? '' : `/${name}`}${dry ? '?dryRun=All' : ''}`;
  const finalizers = finalizer ? ['example.org/hold'] : [];
  if (verb === 'DELETE') return api.request(verb, at);
  // What changes in the write that lets the object go is given to nobody.
  if (verb === 'finish')
    return api.request('PATCH', at, { type: MERGE, body: { metadata: { finalizers: [] }, spec: given } });
  if (verb === 'PATCH') return api.request(verb, at, { type: MERGE, body: { spec: given } });
  const body = { metadata: { name, finalizers }, spec: { ports: [{ port: 80 }], ...given } };
  return api.request(verb, at, { body });
}

async function counted(api: Harness): Promise<number[]> {
  const { text } = await api.request('GET', '/metrics');
  return ['addresses', 'node_ports'].map((what) =>
    Number(new RegExp(`^heddle_service_${what}_allocated (\\d+)$`, 'm').exec(text)?.[1]),
  );
}

// oxlint-disable-next-line typescript/no-explicit-any -- Services of every shape
async function services(api: Harness): Promise<any[]> {
  return (await api.request('GET', path)).json.items;
}

/** Each Service is whole in itself, and all that the Services hold is held once and counted. */
async function check(api: Harness): Promise<void> {
  const addresses: string[] = [];
  const ports: string[] = [];
  for (const { metadata, spec: own } of await services(api)) {
    if (own.type === 'ExternalName') {
      assert.deepEqual([own.clusterIP, own.clusterIPs, own.ipFamilies], [undefined, undefined, undefined]);
      continue;
    }
    assert.equal(own.clusterIP, own.clusterIPs[0]);
    if (own.ipFamilyPolicy === 'RequireDualStack') assert.equal(own.ipFamilies.length, 2);
    if (own.ipFamilyPolicy === 'SingleStack') assert.equal(own.ipFamilies.length, 1);
    if (own.clusterIP === 'None') assert.deepEqual(own.clusterIPs, ['None']);
    else {
      const families = own.clusterIPs.map((text: string) => (text.includes(':') ? 'IPv6' : 'IPv4'));
      assert.deepEqual(families, own.ipFamilies, metadata.name);
      addresses.push(...own.clusterIPs);
    }
    for (const port of own.ports) if (port.nodePort) ports.push(`${port.protocol}/${port.nodePort}`);
    if (own.healthCheckNodePort) ports.push(`TCP/${own.healthCheckNodePort}`);
  }
  assert.equal(new Set(addresses).size, addresses.length, 'an address twice');
  assert.equal(new Set(ports).size, ports.length, 'a node port twice');
  assert.deepEqual(await counted(api), [addresses.length, ports.length], 'what is counted is what is held');
}

/** The answers that rules may give; 500 would be a mistake of the server. */
const FINE = [200, 201, 202, 404, 409, 422];

async function clear(api: Harness): Promise<void> {
  for (const name of NAMES) {
    await api.request('PATCH', `${path}/${name}`, { type: MERGE, body: { metadata: { finalizers: [] } } });
    await api.request('DELETE', `${path}/${name}`);
  }
}

test('after any changes, one by one or at once, exactly what Services hold is taken', async (t) => {
  const api = await startHarness({ serviceCidrs: ['10.1.0.0/28', 'fd00::/124'] });
  t.after(() => api.close());
  await check(api);
  const answers = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { minLength: 6, maxLength: 16 }),
      async (rounds) => {
        for (const round of rounds) {
          for (const { status, text } of await Promise.all(round.map((each) => apply(api, each)))) {
            assert.ok(FINE.includes(status), text);
            answers.set(status, (answers.get(status) ?? 0) + 1);
          }
          await check(api);
        }
        await clear(api);
        await check(api);
      },
    ),
    { numRuns: 20 },
  );
  for (const status of [200, 201, 422]) assert.ok(answers.has(status), `${status} was seen`);
});
