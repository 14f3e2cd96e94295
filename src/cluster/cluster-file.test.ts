import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { givenTo } from '../api/pod-room.ts';
import { parseManifests } from '../api/manifest/parse.ts';
import { HeddleError } from '../lib/errors.ts';
import { readClusterFile } from './cluster-file.ts';
import { isClusterFile } from './cluster-kind.ts';
import { nodeLabels } from './node-labels.ts';
import { type ClusterRequest, planCluster } from './plan.ts';

const options = [
  { name: 'standIn', kind: 'boolean' },
  { name: 'publish', kind: 'list' },
  { name: 'apiPort', kind: 'text' },
] as const;

const head = 'apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\n';

function read(spec: string) {
  const [entry] = parseManifests({ file: 'c.yaml', text: `${head}${spec}` }).objects;
  assert.ok(entry && isClusterFile(entry));
  return readClusterFile(entry, options);
}

const zones = `spec:
  nodes:
    - {name: a1, region: eu, zone: eu-a, rack: r1, labels: {disk: ssd}}
    - {name: b1, region: eu, zone: eu-b}
  links:
    - between: [eu-a, eu-b]
      latency: 20ms
      loss: 1%
      mtu: 1400
  seed: 7
  standIn: true
  publish: ['shop/web:80']
  apiPort: 7443
`;

const request = (more: Partial<ClusterRequest>): ClusterRequest => ({
  id: '00c0ffee',
  nodes: 2,
  apiPort: 6443,
  standIn: false,
  datapath: 'nftables',
  ...more,
});

test('a file says nodes, places, links, and what flags say', () => {
  const file = read(zones);
  assert.deepEqual(file.options, { standIn: true, publish: ['shop/web:80'], apiPort: '7443' });
  assert.deepEqual(file.links, [{ between: ['eu-a', 'eu-b'], latency: 20, loss: 0.01, mtu: 1400 }]);
  assert.ok(typeof file.nodes === 'object');
  const config = planCluster(request({ named: file.nodes, links: file.links, seed: file.seed, nodes: 3 }));
  assert.deepEqual(
    config.nodes.map(({ name }) => name),
    ['a1', 'b1', 'node-3'],
  );
  assert.deepEqual(
    config.topology?.groups.map(({ name, nodes }) => [name, nodes]),
    [
      ['eu-a', ['a1']],
      ['eu-b', ['b1']],
      ['', ['node-3']],
    ],
  );
  assert.equal(config.topology?.seed, 7);
  assert.deepEqual([config.underlayMtu, config.podMtu], [1400, 1350], 'nodes know of a narrow link');
  assert.deepEqual(nodeLabels(config.nodes[0]!), {
    disk: 'ssd',
    'topology.kubernetes.io/region': 'eu',
    'topology.kubernetes.io/zone': 'eu-a',
    'topology.heddle.dev/rack': 'r1',
  });
});

test('nodes of one place share a bridge as they always did, and a black hole is told to nobody', () => {
  const config = planCluster(request({ named: [{ name: 'x', zone: 'a' }], nodes: 1 }));
  assert.equal(config.topology, undefined);
  const links = [{ between: ['a', 'b'], blackHoleAbove: 1300 }] as const;
  assert.equal(planCluster(request({ links })).podMtu, 1450);
  assert.throws(
    () => planCluster(request({ links: [{ between: ['a', 'b'], mtu: 1300 }] })),
    /leaves pods 1250 bytes/,
  );
});

const refused: [string, string, RegExp][] = [
  [
    'an unknown field',
    'spec:\n  node: 3',
    /c\.yaml:5: Cluster c: spec\.node: unknown field; did you mean "nodes"\?/,
  ],
  [
    'a number of nodes',
    'spec: {nodes: 0}',
    /c\.yaml:4: .*spec\.nodes: 0; expected a whole number from 1 to 250/,
  ],
  ['a boolean', 'spec: {standIn: "yes"}', /spec\.standIn: "yes"; expected true or false/],
  ['a list', 'spec: {publish: web}', /spec\.publish: "web"; expected a list of texts/],
  [
    'a node without a name',
    'spec:\n  nodes:\n  - zone: a',
    /c\.yaml:6: .*spec\.nodes\[0\]\.name: nothing; expected the node's name/,
  ],
  ['a name of ours', 'spec: {nodes: [{name: outside}]}', /"outside" is what Heddle calls a part of its own/],
  [
    'a name that is none',
    'spec: {nodes: [{name: A_b}]}',
    /spec\.nodes\[0\]\.name: "A_b": a lowercase RFC 1123 label/,
  ],
  ['the same name twice', 'spec: {nodes: [{name: a}, {name: a}]}', /"a" is the name of spec\.nodes\[0\] too/],
  [
    'a label of ours',
    'spec: {nodes: [{name: a, labels: {topology.kubernetes.io/zone: x}}]}',
    /Heddle sets it itself/,
  ],
  [
    'a label that is no text',
    'spec: {nodes: [{name: a, labels: {x: 1}}]}',
    /spec\.nodes\[0\]\.labels\[x\]: 1; expected a text/,
  ],
  [
    'a latency',
    zones.replace('20ms', 'soon'),
    /c\.yaml:10: .*spec\.links\[0\]\.latency: "soon"; expected a time of at most 10s/,
  ],
  [
    'an end that is no place',
    zones.replace('[eu-a, eu-b]', '[eu-a, us]'),
    /c\.yaml:9: .*"us" is no place of a node; expected two of "eu", "eu-a", "eu-a\/r1", "eu-b"/,
  ],
  [
    'one end',
    zones.replace('[eu-a, eu-b]', 'eu-a'),
    /"eu-a"; expected two places, such as \[zone-a, zone-b\]/,
  ],
  [
    'the same link twice',
    zones.replace('  seed', '    - between: [eu-b, eu-a]\n  seed'),
    /spec\.links\[0\] is between the same; expected one link/,
  ],
  [
    'more jitter than latency',
    zones.replace('loss: 1%', 'jitter: 21ms'),
    /jitter 21 ms is more than the latency, 20 ms/,
  ],
  [
    'links without nodes',
    'spec: {links: [{between: [a, b]}]}',
    /"a" is no place of a node; expected two of none/,
  ],
];
for (const [what, spec, message] of refused)
  test(`refused with its line: ${what}`, () => {
    assert.throws(
      () => read(spec),
      (error) => {
        assert.ok(error instanceof HeddleError && error.code === 'BadManifest');
        assert.match(error.message, message);
        return true;
      },
    );
  });

test('another version is refused, not passed on to the cluster', () => {
  const text = head.replace('v1alpha1', 'v1');
  const [entry] = parseManifests({ file: 'c.yaml', text }).objects;
  assert.ok(entry && isClusterFile(entry));
  assert.throws(
    () => readClusterFile(entry, options),
    /c\.yaml:1: .*"heddle\.dev\/v1"; expected heddle\.dev\/v1alpha1/,
  );
});

test('whatever a file holds, it is read or refused by name', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const spec = fc.record(
    { nodes: value, links: value, seed: value, mtu: value, manifests: value, standIn: value, extra: value },
    { requiredKeys: [] },
  );
  const near = fc.record({
    nodes: fc.array(fc.record({ name: value, zone: value, labels: value }, { requiredKeys: [] })),
    links: fc.array(fc.record({ between: value, latency: value, loss: value }, { requiredKeys: [] })),
  });
  fc.assert(
    fc.property(fc.oneof(spec, near, value), (drawn) => {
      const text = JSON.stringify({
        apiVersion: 'heddle.dev/v1alpha1',
        kind: 'Cluster',
        metadata: { name: 'c' },
        spec: drawn,
      });
      const [entry] = parseManifests({ file: 'c.yaml', text }).objects;
      assert.ok(entry);
      try {
        readClusterFile(entry, options);
      } catch (error) {
        assert.ok(error instanceof HeddleError, String(error));
      }
    }),
  );
});

test('nodes have the resources that the file gives them, and what is none is told with its line', () => {
  const file = read(
    'spec:\n  nodes:\n    - {name: a, resources: {memory: 64Gi, cpu: 16}}\n    - {name: b}\n',
  );
  assert.ok(typeof file.nodes === 'object');
  const config = planCluster(request({ named: file.nodes, nodeResources: { cpu: '4' } }));
  assert.deepEqual(
    config.nodes.map(({ resources }) => resources),
    [{ cpu: '16', memory: '64Gi' }, undefined],
  );
  assert.deepEqual(config.nodeResources, { cpu: '4' });
  assert.deepEqual(
    ['a', 'b'].map((node) => givenTo(config, node)),
    [{ cpu: '16', memory: '64Gi' }, { cpu: '4' }],
  );
  for (const [resources, problem] of [
    ['{cpu: -1}', /c\.yaml:6.*resources\[cpu\]: -1; expected 0 or more/],
    ['{gpus: 1}', /resources\[gpus\]: expected cpu, memory/],
    ['{memory: [1]}', /resources\[memory\]: \[1\]; expected a quantity/],
    ['8', /resources: 8; expected an object/],
  ] as const)
    assert.throws(
      () => read(`spec:\n  nodes:\n    - {name: a, resources: ${resources}}\n`),
      problem,
      resources,
    );
});
