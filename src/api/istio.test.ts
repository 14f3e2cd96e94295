import assert from 'node:assert/strict';
import test from 'node:test';
import { authorizationPolicy } from './authorization-policy.ts';
import { fieldErrorText } from './field-error.ts';
import type { AuthorizationPolicy, PeerAuthentication } from './istio-types.ts';
import { readConditionKey, readPathTemplate } from './istio-words.ts';
import { peerAuthentication } from './peer-authentication.ts';

const policy = (spec: unknown) =>
  ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace: 'shop', name: 'p' },
    spec,
  }) as AuthorizationPolicy;
const errorsOf = (spec: unknown) => authorizationPolicy.validate(policy(spec)).map(fieldErrorText);
const rule = (each: unknown, action = 'ALLOW') =>
  errorsOf({ action, ...(action === 'CUSTOM' ? { provider: { name: 'opa' } } : {}), rules: [each] });

const source = (fields: object) => rule({ from: [{ source: fields }] });
const operation = (fields: object) => rule({ to: [{ operation: fields }] });
const when = (key: string, values: object = { values: ['a'] }) => rule({ when: [{ key, ...values }] });

const from = 'spec.rules[0].from[0].source';
const to = 'spec.rules[0].to[0].operation';
const condition = 'spec.rules[0].when[0]';

/** What is written, what comes of it, the error if there is to be one. */
const cases: [what: string, errors: string[], expected?: string][] = [
  ['nothing at all', errorsOf(undefined)],
  ['an empty spec', errorsOf({})],
  ['a rule for everything', rule({})],
  ['an empty list of sources', rule({ from: [] }), 'spec.rules[0].from: Required value: must not be empty'],
  ['an empty list of operations', rule({ to: [] }), 'spec.rules[0].to: Required value: must not be empty'],
  ['no source', rule({ from: [{}] }), `${from}: Required value`],
  ['an empty source', source({}), `${from}: Required value: must not be empty`],
  ['a source of empty lists', source({ principals: [] }), `${from}: Required value: must not be empty`],
  ['an empty operation', operation({}), `${to}: Required value: must not be empty`],
  ['an empty text', operation({ methods: ['GET', ''] }), `${to}.methods[1]: Invalid value: "": must not be`],
  [
    'every list of a source',
    source({
      principals: ['*'],
      notPrincipals: ['a/*'],
      requestPrincipals: ['*/b'],
      notRequestPrincipals: ['i/s'],
      namespaces: ['shop'],
      notNamespaces: ['pay*'],
      ipBlocks: ['10.0.0.0/8'],
      notIpBlocks: ['10.1.2.3'],
      remoteIpBlocks: ['2001:db8::/32'],
      notRemoteIpBlocks: ['2001:db8::1'],
    }),
  ],
  ['service accounts', source({ serviceAccounts: ['a', 'b/c'], notServiceAccounts: ['d'] })],
  [
    'a service account with *',
    source({ serviceAccounts: ['a*'] }),
    `${from}.serviceAccounts[0]: Invalid value: "a*": must be the name of a service account`,
  ],
  [
    'service accounts and namespaces',
    source({ serviceAccounts: ['a'], notNamespaces: ['b'] }),
    `${from}: Forbidden: cannot set serviceAccounts with namespaces or principals`,
  ],
  ['no address', source({ ipBlocks: ['10.0.0.0/33'] }), `${from}.ipBlocks[0]: Invalid value: "10.0.0.0/33"`],
  ['no port', operation({ ports: ['http'] }), `${to}.ports[0]: Invalid value: "http": must be a port`],
  ['port 0', operation({ ports: ['0', '65535'], notPorts: ['80'] })],
  ['port 65536', operation({ ports: ['65536'] }), `${to}.ports[0]: Invalid value: "65536"`],
  ['a template', operation({ paths: ['/a/{*}/b/{**}', '/x*', '*/y', '*'] })],
  [
    'a named variable',
    operation({ paths: ['/{*}/{b}'] }),
    `${to}.paths[0]: Invalid value: "/{*}/{b}": a path`,
  ],
  ['a template with *', operation({ notPaths: ['/{*}/b*'] }), `${to}.notPaths[0]: Invalid value`],
  [
    'a brace of no template',
    operation({ paths: ['/admin/{*'] }),
    `${to}.paths[0]: Invalid value: "/admin/{*"`,
  ],
  ['{**} that is not last', operation({ paths: ['/{**}/{*}'] }), `${to}.paths[0]: Invalid value`],
  ['a header', when('request.headers[x-name]')],
  ['no header', when('request.headers'), `${condition}.key: Invalid value: "request.headers": expected the`],
  ['a claim in a claim', when('request.auth.claims[a][b]')],
  ['no claim', when('request.auth.claims[]'), `${condition}.key: Invalid value`],
  ['an address', when('remote.ip', { notValues: ['10.0.0.1'] })],
  [
    'no address',
    when('source.ip', { values: ['a'] }),
    `${condition}.values[0]: Invalid value: "a": must be an`,
  ],
  ['a port', when('destination.port', { values: ['1'], notValues: ['2'] })],
  ['no key', when(''), `${condition}.key: Required value`],
  ['no values', when('source.ip', {}), `${condition}.values: Required value: at least one of values and`],
  [
    'an unknown key',
    when('destination.labels[a]'),
    `${condition}.key: Invalid value: "destination.labels[a]": is none of source.ip`,
  ],
  [
    'an experimental key',
    when('experimental.envoy.filters.a[b]'),
    `${condition}.key: Invalid value: "experimental.envoy.filters.a[b]": experimental attributes are not`,
  ],
  [
    'an unknown action',
    errorsOf({ action: 'LOG' }),
    'spec.action: Unsupported value: "LOG": supported values',
  ],
  [
    'DENY without rules',
    errorsOf({ action: 'DENY' }),
    'spec.rules: Required value: without rules action DENY',
  ],
  ['CUSTOM', rule({ to: [{ operation: { paths: ['/a'] } }] }, 'CUSTOM')],
  [
    'CUSTOM without a provider',
    errorsOf({ action: 'CUSTOM', rules: [{}] }),
    'spec.provider.name: Required value',
  ],
  [
    'CUSTOM by principal',
    rule({ from: [{ source: { principals: ['a'] } }] }, 'CUSTOM'),
    `${from}.principals: Forbidden: is not supported with action CUSTOM`,
  ],
  [
    'CUSTOM by claim',
    rule({ when: [{ key: 'request.auth.claims[a]', values: ['b'] }] }, 'CUSTOM'),
    `${condition}.key: Forbidden: request.auth.claims[a] is not supported with action CUSTOM`,
  ],
  ['a provider of ALLOW', errorsOf({ provider: { name: 'a' } }), 'spec.provider: Forbidden: is for action'],
  [
    'a target',
    errorsOf({ targetRefs: [{ kind: 'Service', group: '', name: 'a' }] }),
    'spec.targetRefs: Forbidden: there is no gateway and no waypoint yet',
  ],
  [
    'a gateway',
    errorsOf({ targetRef: { kind: 'Gateway', name: 'a' } }),
    'spec.targetRef: Forbidden: there is no gateway and no waypoint yet',
  ],
  [
    'a selector with *',
    errorsOf({ selector: { matchLabels: { app: 'a*' } } }),
    'spec.selector.matchLabels[app]: Invalid value: "a*": labels are matched as they are',
  ],
];

for (const [what, errors, expected] of cases)
  test(`AuthorizationPolicy: ${what}${expected ? ' is refused' : ''}`, () => {
    assert.equal(errors.length, expected === undefined ? 0 : 1, errors.join('; '));
    assert.ok((errors[0] ?? '').startsWith(expected ?? ''), errors.join('; '));
  });

const peer = (spec: unknown, namespace = 'shop') =>
  peerAuthentication
    .validate({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { namespace, name: 'p' },
      spec,
    } as PeerAuthentication)
    .map(fieldErrorText);
const selector = { matchLabels: { app: 'a' } };

const peerCases: [what: string, errors: string[], expected?: string][] = [
  ['nothing', peer(undefined)],
  ['a mode for a namespace', peer({ mtls: { mode: 'STRICT' } })],
  ['a mode for a port', peer({ selector, mtls: {}, portLevelMtls: { 80: { mode: 'DISABLE' } } })],
  ['an unknown mode', peer({ mtls: { mode: 'ON' } }), 'spec.mtls.mode: Unsupported value: "ON"'],
  [
    'a port of a namespace',
    peer({ portLevelMtls: { 80: {} } }),
    'spec.portLevelMtls: Forbidden: mesh/namespace peer authentication cannot have port level mTLS',
  ],
  [
    'port 0',
    peer({ selector, portLevelMtls: { 0: {} } }),
    'spec.portLevelMtls[0]: Invalid value: "0": must be',
  ],
  ['no port', peer({ selector, portLevelMtls: {} }), 'spec.portLevelMtls: Required value: at least one port'],
  [
    'pods of the whole mesh',
    peer({ selector, mtls: { mode: 'STRICT' } }, 'istio-system'),
    'spec.selector: Forbidden: in istio-system it is for the whole mesh',
  ],
];

for (const [what, errors, expected] of peerCases)
  test(`PeerAuthentication: ${what}${expected ? ' is refused' : ''}`, () => {
    assert.equal(errors.length, expected === undefined ? 0 : 1, errors.join('; '));
    assert.ok((errors[0] ?? '').startsWith(expected ?? ''), errors.join('; '));
  });

test('who writes one is told that nothing enforces it, and of rules that cut connections off', () => {
  const deny = (each: object) => policy({ action: 'DENY', rules: [each] });
  const warned = (object: AuthorizationPolicy) => authorizationPolicy.warnings(object);
  assert.match(warned(policy({}))[0] ?? '', /stored and not enforced yet/);
  const get = { methods: ['GET'] };
  assert.match(
    warned(deny({ to: [{ operation: get }] }))[1] ?? '',
    /^spec.rules\[0\] denies every connection/,
  );
  assert.equal(warned(deny({ to: [{ operation: { ...get, ports: ['80'] } }] })).length, 1);
  assert.equal(warned(deny({ from: [{ source: { requestPrincipals: ['*'] } }] })).length, 2);
  assert.equal(warned(deny({ from: [{ source: { principals: ['*'] } }] })).length, 1);
  assert.equal(warned(policy({ rules: [{ to: [{ operation: get }] }] })).length, 1);
});

test('keys of conditions are read with what is in their brackets', () => {
  assert.deepEqual(readConditionKey('request.headers[X-Name]'), {
    attribute: 'request.headers',
    name: 'x-name',
  });
  assert.deepEqual(readConditionKey('request.auth.claims[a.b/c][d]'), {
    attribute: 'request.auth.claims',
    names: ['a.b/c', 'd'],
  });
  for (const wrong of [
    'request.headers[a',
    'request.headers[a]b',
    'request.auth.claims[a]b[c]',
    'source.ip[a]',
  ])
    assert.equal(typeof readConditionKey(wrong), 'string', wrong);
});

test('path templates are read into their parts', () => {
  assert.deepEqual(readPathTemplate('/a/{*}/b{**}.txt'), [
    { text: '/a/' },
    { any: 'one' },
    { text: '/b' },
    { any: 'many' },
    { text: '.txt' },
  ]);
  for (const wrong of [`/${'{*}a'.repeat(33)}`, 'a/{*}', '/{*}{*}', '/{**}/a/{**}', '/{*}/{}', '/{*}/{a=*}'])
    assert.equal(typeof readPathTemplate(wrong), 'string', wrong);
});
