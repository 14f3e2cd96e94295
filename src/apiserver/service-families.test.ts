/** Every change of a Service's families, on clusters of one family and of both: as Kubernetes has it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Harness, startHarness } from './testing/harness.ts';

const V4 = '10.96.0.0/16';
const V6 = 'fd00:10:96::/112';
const CLUSTERS = { '46': [V4, V6], '64': [V6, V4], '4': [V4], '6': [V6] } as const;
type Cluster = keyof typeof CLUSTERS;

const clusters = new Map<Cluster, Harness>();
before(async () => {
  for (const [name, serviceCidrs] of Object.entries(CLUSTERS))
    clusters.set(name as Cluster, await startHarness({ serviceCidrs: [...serviceCidrs] }));
});
after(() => Promise.all([...clusters.values()].map((api) => api.close())));

const path = '/api/v1/namespaces/default/services';
const MERGE = 'application/merge-patch+json';
const PORTS = [{ port: 80 }];

type Spec = Record<string, unknown>;
let made = 0;

async function create(cluster: Cluster, spec: Spec) {
  const name = `s${made++}`;
  const body = { metadata: { name }, spec: { ports: PORTS, ...spec } };
  return { name, answer: await clusters.get(cluster)!.request('POST', path, { body }) };
}
const patch = (cluster: Cluster, name: string, spec: Spec) =>
  clusters.get(cluster)!.request('PATCH', `${path}/${name}`, { type: MERGE, body: { spec } });
const put = (cluster: Cluster, name: string, spec: Spec) =>
  clusters.get(cluster)!.request('PUT', `${path}/${name}`, {
    body: { metadata: { name }, spec: { ports: PORTS, ...spec } },
  });

/** `PreferDualStack 46 46`: the policy, the families, and those of the addresses (`-`: headless). */
// oxlint-disable-next-line typescript/no-explicit-any -- Services of every shape
function summary({ ipFamilyPolicy, ipFamilies, clusterIPs, clusterIP }: any): string {
  if (ipFamilyPolicy === undefined) {
    assert.deepEqual([ipFamilies, clusterIPs, clusterIP], [undefined, undefined, undefined]);
    return 'none';
  }
  const families = ipFamilies.map((family: string) => family.slice(3)).join('');
  assert.equal(clusterIP, clusterIPs[0]);
  const own = clusterIPs.map((text: string) => (text === 'None' ? '-' : text.includes(':') ? '6' : '4'));
  return `${ipFamilyPolicy} ${families} ${own.join('')}`;
}

const SINGLE = { ipFamilyPolicy: 'SingleStack' };
const PREFER = { ipFamilyPolicy: 'PreferDualStack' };
const REQUIRE = { ipFamilyPolicy: 'RequireDualStack' };
const HEADLESS = { clusterIP: 'None', selector: { app: 'a' } };
const BARE = { clusterIP: 'None' };
const OUTSIDE = { type: 'ExternalName', externalName: 'example.org' };
const ONE = 'this cluster is not configured for dual-stack services';
const TWO = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";

/** What a new Service gets on clusters 46, 64, 4 and 6; a text with a colon is what it is refused with. */
const CREATED: readonly [Spec, string, string, string, string][] = [
  [{}, 'PreferDualStack 46 46', 'PreferDualStack 64 64', 'SingleStack 4 4', 'SingleStack 6 6'],
  [SINGLE, 'SingleStack 4 4', 'SingleStack 6 6', 'SingleStack 4 4', 'SingleStack 6 6'],
  [PREFER, 'PreferDualStack 46 46', 'PreferDualStack 64 64', 'PreferDualStack 4 4', 'PreferDualStack 6 6'],
  [
    REQUIRE,
    'RequireDualStack 46 46',
    'RequireDualStack 64 64',
    `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": ${ONE}`,
    `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": ${ONE}`,
  ],
  [
    { ipFamilies: ['IPv6'] },
    'SingleStack 6 6',
    'SingleStack 6 6',
    'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    'SingleStack 6 6',
  ],
  [
    { ...PREFER, ipFamilies: ['IPv4'] },
    'PreferDualStack 46 46',
    'PreferDualStack 46 46',
    'PreferDualStack 4 4',
    'spec.ipFamilies[0]: Invalid value: "IPv4": not configured on this cluster',
  ],
  [
    { ...SINGLE, ipFamilies: ['IPv6', 'IPv4'] },
    ...(Array(4).fill(`spec.ipFamilyPolicy: Invalid value: "SingleStack": ${TWO}`) as [
      string,
      string,
      string,
      string,
    ]),
  ],
  [
    { ...PREFER, clusterIP: '10.96.77.1' },
    'PreferDualStack 46 46',
    'PreferDualStack 46 46',
    'PreferDualStack 4 4',
    'spec.clusterIPs[0]: Invalid value: ["10.96.77.1"]: IPv4 is not configured on this cluster',
  ],
  [HEADLESS, 'PreferDualStack 46 -', 'PreferDualStack 64 -', 'SingleStack 4 -', 'SingleStack 6 -'],
  [
    { ...HEADLESS, ...REQUIRE },
    'RequireDualStack 46 -',
    'RequireDualStack 64 -',
    `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": ${ONE}`,
    `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": ${ONE}`,
  ],
  // Without a selector whoever writes the endpoints may have both, whatever the cluster has.
  [BARE, 'RequireDualStack 46 -', 'RequireDualStack 64 -', 'RequireDualStack 46 -', 'RequireDualStack 64 -'],
  [
    { ...BARE, ...PREFER },
    'PreferDualStack 46 -',
    'PreferDualStack 64 -',
    'PreferDualStack 46 -',
    'PreferDualStack 64 -',
  ],
  [
    { ...BARE, ...SINGLE, ipFamilies: ['IPv6'] },
    'SingleStack 6 -',
    'SingleStack 6 -',
    'SingleStack 6 -',
    'SingleStack 6 -',
  ],
  [OUTSIDE, 'none', 'none', 'none', 'none'],
];

for (const [spec, ...wanted] of CREATED)
  test(`a new Service with ${JSON.stringify(spec)} gets its families by the cluster's`, async () => {
    for (const [i, cluster] of (['46', '64', '4', '6'] as const).entries()) {
      const { answer } = await create(cluster, spec);
      const text = wanted[i]!;
      if (text.includes(':')) {
        assert.equal(answer.status, 422, `cluster ${cluster}`);
        assert.ok(answer.json.message.endsWith(` is invalid: ${text}`), answer.json.message);
      } else assert.equal(summary(answer.json.spec), text, `cluster ${cluster}`);
    }
  });

interface Step {
  readonly from: Spec;
  readonly change: Spec;
  /** Of a cluster of both families. As above. */
  readonly to: string;
}

const FIRST = 'spec.clusterIPs[0]: Invalid value';
const keep = { first: '<first>', both: ['<first>', '<second>'] };
const STEPS: readonly Step[] = [
  // Each policy to each.
  { from: SINGLE, change: PREFER, to: 'PreferDualStack 46 46' },
  { from: SINGLE, change: REQUIRE, to: 'RequireDualStack 46 46' },
  { from: PREFER, change: REQUIRE, to: 'RequireDualStack 46 46' },
  { from: PREFER, change: SINGLE, to: 'SingleStack 4 4' },
  { from: REQUIRE, change: PREFER, to: 'PreferDualStack 46 46' },
  { from: REQUIRE, change: SINGLE, to: 'SingleStack 4 4' },
  { from: { ...SINGLE, ipFamilies: ['IPv6'] }, change: REQUIRE, to: 'RequireDualStack 64 64' },
  { from: { ...REQUIRE, ipFamilies: ['IPv6', 'IPv4'] }, change: SINGLE, to: 'SingleStack 6 6' },
  { from: PREFER, change: { ipFamilyPolicy: null }, to: 'PreferDualStack 46 46' },
  { from: SINGLE, change: { ipFamilyPolicy: null, ipFamilies: null }, to: 'SingleStack 4 4' },
  // The second by name.
  {
    from: SINGLE,
    change: { ...REQUIRE, clusterIPs: [keep.first, 'fd00:10:96::7777'] },
    to: 'RequireDualStack 46 46',
  },
  { from: SINGLE, change: { ...PREFER, ipFamilies: ['IPv4', 'IPv6'] }, to: 'PreferDualStack 46 46' },
  { from: REQUIRE, change: { ...SINGLE, ipFamilies: ['IPv4'] }, to: 'SingleStack 4 4' },
  { from: REQUIRE, change: { ...SINGLE, clusterIPs: [keep.first] }, to: 'SingleStack 4 4' },
  { from: REQUIRE, change: { ...SINGLE, clusterIPs: null, ipFamilies: null }, to: 'SingleStack 4 4' },
  // What is refused.
  {
    from: SINGLE,
    change: { ipFamilies: ['IPv4', 'IPv6'] },
    to: `spec.ipFamilyPolicy: Invalid value: "SingleStack": ${TWO}`,
  },
  {
    from: REQUIRE,
    change: { clusterIPs: [keep.first] },
    to: `spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be 'SingleStack' to release the secondary cluster IP`,
  },
  {
    from: PREFER,
    change: { ipFamilies: ['IPv4'] },
    to: `spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be 'SingleStack' to release the secondary IP family`,
  },
  {
    from: SINGLE,
    change: { clusterIP: '10.96.78.1' },
    to: `${FIRST}: ["10.96.78.1"]: may not change once set`,
  },
  {
    from: SINGLE,
    change: { ipFamilies: ['IPv6'] },
    to: 'spec.clusterIPs[0]: Invalid value: "<first>": expected an IPv6 value as indicated by `ipFamilies[0]`',
  },
  {
    from: REQUIRE,
    change: { ...SINGLE, ipFamilies: ['IPv6'] },
    to: 'spec.clusterIPs[0]: Invalid value: "<first>": expected an IPv6 value as indicated by `ipFamilies[0]`',
  },
  {
    from: REQUIRE,
    change: { clusterIPs: [keep.first, 'fd00:10:96::7778'] },
    to: 'spec.clusterIPs[1]: Invalid value: ["<first>","fd00:10:96::7778"]: may not change once set',
  },
  {
    from: SINGLE,
    change: { clusterIPs: ['10.96.78.2'] },
    to: 'spec.clusterIPs: Invalid value: ["10.96.78.2"]: first value must match `clusterIP`',
  },
  // Headless: families follow the fields, addresses never come.
  { from: { ...HEADLESS, ...PREFER }, change: SINGLE, to: 'SingleStack 4 -' },
  { from: { ...HEADLESS, ...SINGLE }, change: REQUIRE, to: 'RequireDualStack 46 -' },
  { from: { ...HEADLESS, ...SINGLE }, change: { ipFamilies: ['IPv6'] }, to: 'SingleStack 6 -' },
  { from: { ...HEADLESS, ...PREFER }, change: { ipFamilies: ['IPv6', 'IPv4'] }, to: 'PreferDualStack 64 -' },
  { from: BARE, change: { selector: { app: 'a' } }, to: 'RequireDualStack 46 -' },
  { from: SINGLE, change: { clusterIP: 'None' }, to: `${FIRST}: ["None"]: may not change once set` },
  {
    from: { ...HEADLESS, ...SINGLE },
    change: { clusterIP: '10.96.79.1' },
    to: `${FIRST}: ["10.96.79.1"]: may not change once set`,
  },
  // Types.
  { from: REQUIRE, change: { type: 'NodePort' }, to: 'RequireDualStack 46 46' },
  {
    from: { ...SINGLE, type: 'NodePort' },
    change: { type: 'LoadBalancer', ...PREFER },
    to: 'PreferDualStack 46 46',
  },
  { from: REQUIRE, change: OUTSIDE, to: 'none' },
  { from: { ...HEADLESS, ...PREFER }, change: OUTSIDE, to: 'none' },
  { from: OUTSIDE, change: { type: 'ClusterIP', externalName: null }, to: 'PreferDualStack 46 46' },
  { from: OUTSIDE, change: { type: 'ClusterIP', externalName: null, ...SINGLE }, to: 'SingleStack 4 4' },
  {
    from: OUTSIDE,
    change: { type: 'NodePort', externalName: null, ipFamilies: ['IPv6'] },
    to: 'SingleStack 6 6',
  },
  { from: OUTSIDE, change: { type: 'ClusterIP', externalName: null, ...BARE }, to: 'RequireDualStack 46 -' },
  {
    from: REQUIRE,
    change: { ...OUTSIDE, clusterIPs: ['10.96.80.1'] },
    to: 'spec.clusterIPs: Forbidden: may not be set for ExternalName services',
  },
];

for (const { from, change, to } of STEPS)
  test(`${JSON.stringify(from)} changed by ${JSON.stringify(change)}: ${to}`, async () => {
    const { name, answer } = await create('46', from);
    assert.equal(answer.status, 201, answer.text);
    const [first = '', second = ''] = (answer.json.spec.clusterIPs ?? []) as string[];
    const fill = (text: string) => text.replaceAll('<first>', first).replaceAll('<second>', second);
    const changed = await patch('46', name, JSON.parse(fill(JSON.stringify(change))) as Spec);
    if (to.includes(':')) {
      assert.equal(changed.status, 422, changed.text);
      assert.ok(changed.json.message.includes(fill(to)), changed.json.message);
      return;
    }
    assert.equal(changed.status, 200, changed.text);
    assert.equal(summary(changed.json.spec), to);
    if (first && first !== 'None' && to !== 'none')
      assert.equal(changed.json.spec.clusterIP, first, 'the primary address stays');
    // What was written is taken again as it is, and changes nothing.
    const again = await put('46', name, changed.json.spec);
    assert.equal(again.text, changed.text);
  });

test('an update that leaves addresses and families out keeps them', async () => {
  for (const from of [SINGLE, PREFER, REQUIRE, { ...SINGLE, ipFamilies: ['IPv6'] }]) {
    const { name, answer } = await create('46', from);
    for (const given of [{}, { clusterIP: answer.json.spec.clusterIP }]) {
      const { spec } = (await put('46', name, given)).json;
      assert.deepEqual(
        [spec.clusterIPs, spec.ipFamilies, spec.ipFamilyPolicy],
        [answer.json.spec.clusterIPs, answer.json.spec.ipFamilies, answer.json.spec.ipFamilyPolicy],
      );
    }
  }
});

test('an address in other letters is the same address', async () => {
  const { name, answer } = await create('46', { clusterIP: 'FD00:10:96:0::ABCD', ...SINGLE });
  assert.equal(answer.json.spec.clusterIP, 'fd00:10:96::abcd');
  const { json } = await put('46', name, { clusterIP: 'FD00:10:96:0::ABCD' });
  assert.deepEqual(json.spec.clusterIPs, ['fd00:10:96::abcd']);
});
