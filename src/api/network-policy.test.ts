import assert from 'node:assert/strict';
import test from 'node:test';
import { networkPolicy } from './network-policy.ts';
import type { NetworkPolicy } from './types.ts';

const policy = (spec: unknown): NetworkPolicy =>
  networkPolicy.applyDefaults({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'n' },
    spec,
  } as NetworkPolicy);
const errorsOf = (spec: unknown) =>
  networkPolicy.validate(policy(spec)).map((e) => `${e.field}: ${e.message}`);
const from = (peer: unknown) => ({ podSelector: {}, ingress: [{ from: [peer] }] });
const port = (p: unknown) => ({ podSelector: {}, ingress: [{ ports: [p] }] });

test('policyTypes default to Ingress, and to both when there are egress rules', () => {
  assert.deepEqual(policy({ podSelector: {} }).spec?.policyTypes, ['Ingress']);
  assert.deepEqual(policy({ podSelector: {}, egress: [{}] }).spec?.policyTypes, ['Ingress', 'Egress']);
  assert.deepEqual(policy({ podSelector: {}, egress: [] }).spec?.policyTypes, ['Ingress']);
  assert.deepEqual(policy({ podSelector: {}, policyTypes: ['Egress'] }).spec?.policyTypes, ['Egress']);
});

test('the protocol of a port defaults to TCP', () => {
  assert.equal(policy(port({ port: 80 })).spec?.ingress?.[0]?.ports?.[0]?.protocol, 'TCP');
});

const good: [string, unknown][] = [
  ['nothing but a selector', { podSelector: {} }],
  ['an empty rule', { podSelector: {}, ingress: [{}], egress: [{}] }],
  [
    'all kinds of peers',
    {
      podSelector: { matchLabels: { a: 'b' } },
      ingress: [
        {
          from: [
            { podSelector: {} },
            { namespaceSelector: {} },
            { podSelector: {}, namespaceSelector: {} },
            { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } },
          ],
        },
      ],
    },
  ],
  [
    'ports by number, name, range and protocol alone',
    {
      podSelector: {},
      egress: [
        {
          ports: [
            { port: 80 },
            { port: 'http' },
            { port: 1, endPort: 65535 },
            { protocol: 'SCTP' },
            { port: 80, endPort: 80 },
          ],
        },
      ],
    },
  ],
  ['IPv6 blocks', from({ ipBlock: { cidr: 'fd00::/8', except: ['fd00:1::/32'] } })],
];
for (const [name, spec] of good) test(`accepted: ${name}`, () => assert.deepEqual(errorsOf(spec), []));

const bad: [string, unknown, RegExp][] = [
  [
    'no range',
    from({ ipBlock: { cidr: '10.0.0.0' } }),
    /spec\.ingress\[0\]\.from\[0\]\.ipBlock\.cidr: Invalid value: "10\.0\.0\.0": must be a valid CIDR/,
  ],
  ['no cidr', from({ ipBlock: { cidr: '' } }), /ipBlock\.cidr: Required/],
  [
    'an exception outside',
    from({ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }),
    /except\[0\].*strict subset/,
  ],
  [
    'an exception as large as the block',
    from({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] } }),
    /except\[0\].*strict subset/,
  ],
  [
    'an exception larger than the block',
    from({ ipBlock: { cidr: '10.0.0.0/8', except: ['0.0.0.0/0'] } }),
    /strict subset/,
  ],
  [
    'an exception of the other family',
    from({ ipBlock: { cidr: '10.0.0.0/8', except: ['fd00::/16'] } }),
    /strict subset/,
  ],
  [
    'an exception that is no range',
    from({ ipBlock: { cidr: '10.0.0.0/8', except: ['x'] } }),
    /except\[0\].*valid CIDR/,
  ],
  [
    'a block beside a selector',
    from({ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }),
    /from\[0\]: Forbidden: may not specify both ipBlock/,
  ],
  ['a peer of nothing', from({}), /from\[0\]: Required value: must specify a peer/],
  [
    'a range that runs backwards',
    port({ port: 80, endPort: 79 }),
    /endPort.*greater than or equal to `port`/,
  ],
  ['a range that begins at a name', port({ port: 'http', endPort: 90 }), /endPort.*non-numeric/],
  ['a range without a beginning', port({ endPort: 90 }), /endPort.*not specified/],
  ['port 0', port({ port: 0 }), /port.*between 1 and 65535/],
  ['port 65536', port({ port: 65536 }), /between 1 and 65535/],
  ['an end beyond the ports', port({ port: 80, endPort: 70000 }), /endPort.*between 1 and 65535/],
  ['a name that is none', port({ port: 'Not_A_Port' }), /port.*must contain only/],
  [
    'a protocol that is none',
    port({ protocol: 'ICMP' }),
    /protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"/,
  ],
  ['a type that is none', { podSelector: {}, policyTypes: ['Both'] }, /policyTypes\[0\]: Unsupported/],
  ['a type twice', { podSelector: {}, policyTypes: ['Ingress', 'Ingress'] }, /policyTypes\[1\]: Duplicate/],
  ['three types', { podSelector: {}, policyTypes: ['Ingress', 'Egress', 'Ingress'] }, /more than two/],
  [
    'In without values',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
    /values: Required/,
  ],
  [
    'Exists with values',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] } },
    /values: Forbidden/,
  ],
  [
    'an operator that is none',
    { podSelector: { matchExpressions: [{ key: 'a', operator: 'Is' }] } },
    /operator: Invalid/,
  ],
  [
    'a label value that is none',
    { podSelector: { matchLabels: { a: '-' } } },
    /matchLabels: Invalid value: "-": a valid label/,
  ],
];
for (const [name, spec, expected] of bad)
  test(`refused: ${name}`, () => {
    const errors = errorsOf(spec);
    assert.equal(errors.length, 1, errors.join('\n'));
    assert.match(errors[0] ?? '', expected);
  });
