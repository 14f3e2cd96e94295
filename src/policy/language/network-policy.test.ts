import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyObject } from '../testing/arbitraries.ts';
import { lowerNetworkPolicy } from './network-policy.ts';

const lower = (spec: unknown) => lowerNetworkPolicy(policyObject('a', 'p', spec));
const block = (ipBlock: unknown) => ({ ingress: [{ from: [{ ipBlock }] }] });
const port = (input: unknown) => ({ ingress: [{ ports: [input] }] });

test('a rule keeps its object, direction, place and path', () => {
  const { rules } = lower({ ingress: [{}], egress: [{}, {}] });
  assert.deepEqual(
    rules.map(
      ({ ref }) => `${ref.kind} ${ref.namespace}/${ref.name} ${ref.direction} ${ref.index} ${ref.path}`,
    ),
    [
      'NetworkPolicy a/p ingress 0 spec.ingress[0]',
      'NetworkPolicy a/p egress 0 spec.egress[0]',
      'NetworkPolicy a/p egress 1 spec.egress[1]',
    ],
  );
});

const unreadable: [string, unknown, string][] = [
  ['a range that is none', block({ cidr: '10.0.0.0' }), 'spec.ingress[0].from[0].ipBlock.cidr'],
  [
    'an exception that is no range',
    block({ cidr: '10.0.0.0/8', except: ['x'] }),
    'spec.ingress[0].from[0].ipBlock.except[0]',
  ],
  [
    'an exception that leaves nothing',
    block({ cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] }),
    'spec.ingress[0].from[0].ipBlock.except',
  ],
  ['an empty peer', { ingress: [{ from: [{}] }] }, 'spec.ingress[0].from[0]'],
  [
    'ipBlock beside a selector',
    { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }] }] },
    'spec.ingress[0].from[0]',
  ],
  ['port 0', port({ port: 0 }), 'spec.ingress[0].ports[0].port'],
  ['a number in quotes', port({ port: '80' }), 'spec.ingress[0].ports[0].port'],
  ['endPort below port', port({ port: 80, endPort: 79 }), 'spec.ingress[0].ports[0].endPort'],
  ['endPort without port', port({ endPort: 79 }), 'spec.ingress[0].ports[0].endPort'],
  ['endPort with a name', port({ port: 'http', endPort: 79 }), 'spec.ingress[0].ports[0].endPort'],
  ['a protocol without ports', port({ protocol: 'ICMP' }), 'spec.ingress[0].ports[0].protocol'],
  [
    'an unknown operator',
    {
      ingress: [
        { from: [{ podSelector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } }] },
      ],
    },
    'spec.ingress[0].from[0].podSelector.matchExpressions[0].operator',
  ],
];

for (const [what, spec, path] of unreadable)
  test(`${what} matches nothing and is reported with its path`, () => {
    const { rules, problems } = lower(spec);
    assert.deepEqual(
      problems.map((problem) => problem.path),
      [path],
    );
    assert.ok(rules[0]!.peers?.length === 0 || rules[0]!.ports?.length === 0);
  });

test('a policy whose own podSelector cannot be read isolates nothing, and says so', () => {
  const { isolates, rules, problems } = lower({
    podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] },
    ingress: [{}],
  });
  assert.deepEqual([isolates, rules], [{ ingress: false, egress: false }, []]);
  assert.equal(problems[0]?.path, 'spec.podSelector.matchExpressions[0].values');
});

test('a range with host bits means the range around it', () => {
  const [rule] = lower(block({ cidr: '10.1.2.3/8' })).rules;
  assert.deepEqual(rule?.peers?.[0]?.text, 'block 10.0.0.0/8 except ');
});
