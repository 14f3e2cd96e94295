import assert from 'node:assert/strict';
import test from 'node:test';
import { service } from './service.ts';
import type { Service } from './types.ts';

const make = (spec: unknown, name = 'web'): Service =>
  service.applyDefaults({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'n' },
    spec,
  } as Service);
const errorsOf = (spec: unknown) => service.validate(make(spec)).map((e) => `${e.field}: ${e.message}`);
const cell = (s: Service, name: string) => service.columns.find((c) => c.name === name)?.value(s, 0);

test('a service is completed as Kubernetes completes it', () => {
  assert.deepEqual(make({ selector: { a: 'b' }, ports: [{ port: 80 }] }).spec, {
    selector: { a: 'b' },
    ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
    type: 'ClusterIP',
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
  });
  const balanced = make({ type: 'LoadBalancer', ports: [{ port: 80 }], sessionAffinity: 'ClientIP' }).spec;
  assert.equal(balanced?.externalTrafficPolicy, 'Cluster');
  assert.equal(balanced?.allocateLoadBalancerNodePorts, true);
  assert.deepEqual(balanced?.sessionAffinityConfig, { clientIP: { timeoutSeconds: 10800 } });
  assert.deepEqual(make({ clusterIP: 'None' }).spec?.clusterIPs, ['None']);
});

const good: [string, unknown][] = [
  ['one port without a name', { ports: [{ port: 80, targetPort: 'http' }] }],
  [
    'one number of two protocols',
    {
      ports: [
        { name: 'a', port: 53 },
        { name: 'b', port: 53, protocol: 'UDP' },
      ],
    },
  ],
  ['headless without ports', { clusterIP: 'None' }],
  ['an outside name', { type: 'ExternalName', externalName: 'db.example.com.' }],
  [
    'both families',
    {
      ports: [{ port: 80 }],
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'RequireDualStack',
    },
  ],
  ['an outside address', { ports: [{ port: 80 }], externalIPs: ['192.0.2.1'] }],
];
for (const [name, spec] of good) test(`accepted: ${name}`, () => assert.deepEqual(errorsOf(spec), []));

const bad: [string, unknown, RegExp][] = [
  ['no ports', {}, /spec\.ports: Required/],
  [
    'two ports, one without a name',
    { ports: [{ port: 80 }, { name: 'b', port: 81 }] },
    /ports\[0\]\.name: Required/,
  ],
  [
    'a name twice',
    {
      ports: [
        { name: 'a', port: 80 },
        { name: 'a', port: 81 },
      ],
    },
    /ports\[1\]\.name: Duplicate/,
  ],
  [
    'a port twice',
    {
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
    },
    /ports\[1\]: Duplicate/,
  ],
  ['a protocol that is none', { ports: [{ port: 80, protocol: 'HTTP' }] }, /protocol: Unsupported/],
  ['a port too high', { ports: [{ port: 70000, targetPort: 1 }] }, /ports\[0\]\.port: Invalid value: 70000/],
  [
    'a target name too long',
    { ports: [{ port: 80, targetPort: 'a-very-long-port-name' }] },
    /targetPort.*no more than 15/,
  ],
  ['a type that is none', { type: 'Cluster', ports: [{ port: 80 }] }, /spec\.type: Unsupported/],
  ['a node port on a ClusterIP', { ports: [{ port: 80, nodePort: 30000 }] }, /nodePort: Forbidden/],
  ['an outside name that is missing', { type: 'ExternalName' }, /externalName: Required/],
  [
    'an outside name with an address',
    { type: 'ExternalName', externalName: 'a.b', clusterIP: '10.0.0.1', clusterIPs: [] },
    /clusterIP/,
  ],
  [
    'an address that is none',
    { ports: [{ port: 80 }], clusterIP: '10.0.0.300' },
    /clusterIPs\[0\].*valid IP/,
  ],
  [
    'two addresses of one family',
    { ports: [{ port: 80 }], clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1', '10.0.0.2'] },
    /one IP for each IP family/,
  ],
  [
    'addresses that do not agree',
    { ports: [{ port: 80 }], clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.2'] },
    /must match `clusterIP`/,
  ],
  [
    'an address of another family than said',
    { ports: [{ port: 80 }], clusterIP: '10.0.0.1', ipFamilies: ['IPv6'] },
    /expected an IPv6/,
  ],
  ['a family that is none', { ports: [{ port: 80 }], ipFamilies: ['IPv5'] }, /ipFamilies\[0\]: Unsupported/],
  [
    'addresses without the first of them',
    { ports: [{ port: 80 }], clusterIPs: ['10.0.0.1'] },
    /clusterIPs: .*must be empty when `clusterIP` is not specified/,
  ],
  [
    'no address and one',
    { clusterIP: 'None', clusterIPs: ['None', '10.0.0.1'], ports: [{ port: 80 }] },
    /clusterIPs: .*'None' must be the first and only value/,
  ],
  [
    'headless on every node',
    { type: 'NodePort', clusterIP: 'None', ports: [{ port: 80 }] },
    /may not be set to 'None' for NodePort/,
  ],
  [
    'affinity for two days',
    {
      ports: [{ port: 80 }],
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 172800 } },
    },
    /timeoutSeconds/,
  ],
  [
    'affinity that is none',
    { ports: [{ port: 80 }], sessionAffinity: 'Cookie' },
    /sessionAffinity: Unsupported/,
  ],
  [
    'outside policy without outside',
    { ports: [{ port: 80 }], externalTrafficPolicy: 'Local' },
    /externally-accessible/,
  ],
  [
    'source ranges without a balancer',
    { ports: [{ port: 80 }], loadBalancerSourceRanges: ['10.0.0.0/8'] },
    /loadBalancerSourceRanges: Forbidden/,
  ],
];
for (const [name, spec, expected] of bad)
  test(`refused: ${name}`, () => {
    const errors = errorsOf(spec);
    assert.ok(
      errors.some((e) => expected.test(e)),
      errors.join('\n'),
    );
  });

test('a name must begin with a letter', () => {
  assert.match(service.validate(make({ ports: [{ port: 80 }] }, '1web'))[0]?.message ?? '', /DNS-1035/);
});

test('the address stays, unless the service becomes an outside name', () => {
  const before = make({ ports: [{ port: 80 }], clusterIP: '10.0.0.1' });
  const moved = make({ ports: [{ port: 80 }], clusterIP: '10.0.0.2' });
  assert.match(service.validateUpdate(moved, before)[0]?.message ?? '', /may not change once set/);
  assert.deepEqual(service.validateUpdate(make({ type: 'ExternalName', externalName: 'a.b' }), before), []);
});

test('the table shows what kubectl shows', () => {
  const s = make({
    type: 'LoadBalancer',
    clusterIP: '10.0.0.1',
    ports: [
      { port: 80, nodePort: 30080 },
      { port: 53, protocol: 'UDP' },
    ],
    selector: { b: '2', a: '1' },
  });
  assert.equal(cell(s, 'Port(s)'), '80:30080/TCP,53/UDP');
  assert.equal(cell(s, 'External-IP'), '<pending>');
  assert.equal(cell(s, 'Selector'), 'a=1,b=2');
  assert.equal(cell(make({ type: 'ExternalName', externalName: 'a.b' }), 'External-IP'), 'a.b');
  assert.equal(cell(make({ clusterIP: 'None' }), 'Cluster-IP'), 'None');
});

test('a service that changes its type loses what only the old type has', () => {
  const balancer = make({
    type: 'LoadBalancer',
    clusterIP: '10.0.0.1',
    ports: [{ port: 80, nodePort: 30080 }],
  });
  const turned = (spec: object) => {
    const given = { ...balancer, spec: { ...balancer.spec, ...spec } } as Service;
    const now = service.applyDefaults(service.prepareUpdate(given, balancer));
    return { spec: now.spec, errors: [...service.validate(now), ...service.validateUpdate(now, balancer)] };
  };
  const inside = turned({ type: 'ClusterIP' });
  assert.deepEqual(inside.errors, []);
  assert.deepEqual(inside.spec?.ports, [{ port: 80, protocol: 'TCP', targetPort: 80 }]);
  assert.equal(inside.spec?.externalTrafficPolicy, undefined);
  assert.equal(inside.spec?.clusterIP, '10.0.0.1');
  const named = turned({ type: 'ExternalName', externalName: 'a.b' });
  assert.deepEqual(named.errors, []);
  assert.equal(named.spec?.clusterIP, undefined);
  // What the same update sets is the user's mistake.
  assert.notDeepEqual(turned({ type: 'ClusterIP', ports: [{ port: 80, nodePort: 30081 }] }).errors, []);
  assert.notDeepEqual(turned({ type: 'ClusterIP', loadBalancerClass: 'x' }).errors, []);
  assert.equal(service.prepareUpdate(balancer, balancer).spec?.ports?.[0]?.nodePort, 30080);
});
