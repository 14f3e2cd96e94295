/** Random objects of security.istio.io, and connections and requests that they speak of. */
import fc from 'fast-check';
import { STAGE } from '../../api/labels.ts';
import type { AuthorizationPolicy, PeerAuthentication, WorkloadSelector } from '../../api/istio-types.ts';
import type { MeshObject } from '../mesh/objects.ts';
import type { Request } from '../request.ts';
import type { Flow, World } from '../world.ts';
import { flowsIn } from './arbitraries.ts';

const ports = ['80', '81', '443', '8080'];
const accounts = ['x', 'y', 'default'];
const methods = ['GET', 'POST', 'PUT'];
const paths = ['/a', '/a/b', '/b', '/a/b/c', '/', '/x.png', '/b/../a', '/%61', '//a', '/a?b=/b'];
const hosts = ['one.example', 'TWO.example', 'two.example:80', 'a.one.example'];
const issuers = ['https://id.example', 'corp'];
const subjects = ['ann', 'bob'];

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });

/** A list and its opposite, either of which may be missing, but not both. */
const both = (name: string, values: readonly string[]) => {
  const not = `not${name[0]!.toUpperCase()}${name.slice(1)}`;
  return fc.oneof(
    { weight: 4, arbitrary: some(values).map((list) => ({ [name]: list })) },
    { weight: 2, arbitrary: some(values).map((list) => ({ [not]: list })) },
    { weight: 1, arbitrary: fc.tuple(some(values), some(values)).map(([a, b]) => ({ [name]: a, [not]: b })) },
  );
};

const principals = [
  '*',
  'cluster.local/ns/a/sa/x',
  'cluster.local/ns/a*',
  '*/sa/y',
  'cluster.local/ns/b/sa/default',
  'other.example/robot',
  '*robot',
];
const namespaces = ['a', 'b', '*', 'a*', '*b'];
const blocks = ['10.244.1.0/28', '10.244.0.0/16', '8.8.8.8', '10.240.0.11', '::/0', 'fd00:10:244:2::/64'];
const remotes = ['203.0.113.0/24', '10.244.1.0/28', '2001:db8::1'];
const requestPrincipals = [
  '*',
  'https://id.example/ann',
  'corp/*',
  '*/bob',
  'https://id.example/a*',
  'corp*',
  '*nn',
];
const pathPatterns = ['/a', '/a*', '*/c', '*', '/{*}', '/a/{**}', '/{*}/b', '*.png', '/a/'];
const hostPatterns = ['one.example', 'Two.Example', '*.one.example', 'two*', '*'];

const merged = <T extends object>(parts: readonly fc.Arbitrary<T>[]): fc.Arbitrary<T> =>
  fc
    .shuffledSubarray([...parts], { minLength: 1, maxLength: 2 })
    .chain((chosen) => fc.tuple(...chosen))
    .map((list) => Object.assign({}, ...list) as T);

/** Service accounts stand alone. */
const source = fc.oneof(
  merged([
    both('principals', principals),
    both('namespaces', namespaces),
    both('ipBlocks', blocks),
    both('remoteIpBlocks', remotes),
    both('requestPrincipals', requestPrincipals),
  ]),
  both('serviceAccounts', ['x', 'a/y', 'b/default', 'b/x']),
);

const operation = merged([
  both('ports', ports),
  both('methods', ['GET', 'P*', '*']),
  both('paths', pathPatterns),
  both('hosts', hostPatterns),
]);

const texts: readonly (readonly [key: string, values: readonly string[]])[] = [
  ['request.headers[x-a]', ['1', '1*', '*']],
  ['request.headers[X-B]', ['2', '*2']],
  ['request.headers[:method]', ['GET']],
  ['request.auth.claims[groups]', ['admin', 'a*', '*']],
  ['request.auth.claims[realm][role]', ['owner']],
  ['request.auth.audiences', ['shop', '*']],
  ['request.auth.presenter', ['app']],
  ['request.auth.principal', requestPrincipals],
  ['source.namespace', namespaces],
  ['source.principal', principals],
  ['source.serviceAccount', ['x', 'b/y']],
  ['source.ip', blocks],
  ['remote.ip', remotes],
  ['destination.ip', blocks],
  ['destination.port', ports],
  ['connection.sni', ['one.example', '*.example', '*']],
];

const condition = fc
  .constantFrom(...texts)
  .chain(([key, values]) => both('values', values).map((lists) => ({ key, ...lists })));

const rule = fc
  .record(
    {
      from: fc.array(
        source.map((each) => ({ source: each })),
        { minLength: 1, maxLength: 2 },
      ),
      to: fc.array(
        operation.map((each) => ({ operation: each })),
        { minLength: 1, maxLength: 2 },
      ),
      when: fc.array(condition, { maxLength: 2 }),
    },
    { requiredKeys: [] },
  )
  .map((each) => ({ ...each }));

const selector = fc.constantFrom<(WorkloadSelector | undefined)[]>(
  undefined,
  undefined,
  {},
  { matchLabels: { app: 'web' } },
  { matchLabels: { app: 'web', tier: 'x' } },
  { matchLabels: { app: 'db' } },
);

const metadata = (name: string) =>
  fc
    .record({
      namespace: fc.constantFrom('a', 'b', 'istio-system'),
      stage: fc.constantFrom(undefined, undefined, undefined, 'audit', 'enforce'),
      dryRun: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      creationTimestamp: fc.constantFrom(undefined, '2026-01-01T00:00:00Z', '2026-02-02T00:00:00Z'),
    })
    .map(({ namespace, stage, dryRun, creationTimestamp }) => ({
      name,
      namespace,
      ...(stage === undefined ? {} : { labels: { [STAGE]: stage } }),
      ...(dryRun ? { annotations: { 'istio.io/dry-run': 'true' } } : {}),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    }));

const authorization = (i: number): fc.Arbitrary<AuthorizationPolicy> =>
  fc
    .record({
      metadata: metadata(`authz-${i}`),
      selector,
      action: fc.constantFrom(undefined, 'ALLOW', 'ALLOW', 'DENY', 'DENY', 'AUDIT', 'CUSTOM'),
      provider: fc.constantFrom('opa', 'opa', 'opa', 'oauth'),
      rules: fc.array(rule, { maxLength: 3 }),
    })
    .map(({ metadata: meta, selector: pods, action, provider, rules }) => ({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: meta,
      spec: {
        ...(pods ? { selector: pods } : {}),
        ...(action === undefined ? {} : { action }),
        ...(action === 'CUSTOM' ? { provider: { name: provider } } : {}),
        rules,
      },
    }));

const mode = fc.constantFrom('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT', undefined);

const peer = (i: number): fc.Arbitrary<PeerAuthentication> =>
  fc
    .record({
      metadata: metadata(`peer-${i}`),
      selector,
      mode,
      ports: fc.option(
        fc.dictionary(
          fc.constantFrom('80', '443'),
          mode.map((each) => (each ? { mode: each } : {})),
        ),
        {
          nil: undefined,
        },
      ),
    })
    .map(({ metadata: meta, selector: pods, mode: own, ports: byPort }) => {
      const selects = pods?.matchLabels !== undefined && meta.namespace !== 'istio-system';
      return {
        apiVersion: 'security.istio.io/v1',
        kind: 'PeerAuthentication',
        metadata: meta,
        spec: {
          ...(selects ? { selector: pods } : {}),
          ...(own === undefined ? {} : { mtls: { mode: own } }),
          ...(selects && byPort ? { portLevelMtls: byPort } : {}),
        },
      };
    });

const list = <T>(sizes: readonly number[], one: (i: number) => fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.constantFrom(...sizes).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => one(i))));

export const meshObjects: fc.Arbitrary<MeshObject[]> = fc
  .tuple(list([0, 1, 2, 3, 5], authorization), list([0, 0, 1, 2, 3], peer))
  .map(([a, b]) => [...a, ...b]);

/** Those worlds with a mesh: pods have service accounts, and some have no proxy. */
export const withMesh = (worlds: fc.Arbitrary<World>): fc.Arbitrary<World> =>
  fc
    .tuple(
      worlds,
      meshObjects,
      fc.array(fc.constantFrom(undefined, ...accounts), { minLength: 8, maxLength: 8 }),
      fc.array(fc.constantFrom(undefined, undefined, undefined, 'none', 'ambient'), {
        minLength: 8,
        maxLength: 8,
      }),
      fc.constantFrom(undefined, undefined, undefined, 'disabled'),
    )
    .map(([world, mesh, own, modes, injection]) => ({
      ...world,
      mesh,
      pods: world.pods.map((pod, i) => ({
        ...pod,
        serviceAccount: own[i],
        labels: modes[i] === undefined ? pod.labels : { ...pod.labels, 'istio.io/dataplane-mode': modes[i] },
      })),
      namespaces: world.namespaces.map(({ name, labels }) => ({
        name,
        labels: injection === undefined ? labels : { ...labels, 'istio-injection': injection },
      })),
    }));

const claims = fc.record(
  {
    iss: fc.constantFrom(...issuers),
    sub: fc.constantFrom(...subjects),
    aud: fc.constantFrom('shop', ['shop', 'pay'], []),
    azp: fc.constantFrom('app', 'other'),
    groups: fc.constantFrom('admin', ['users', 'admin'], 'users', 7),
    realm: fc.constantFrom({ role: 'owner' }, { role: ['owner', 'x'] }, 'owner'),
  },
  { requiredKeys: [] },
);

const headers = fc.record(
  {
    'x-a': fc.constantFrom('1', '12', ''),
    'X-B': fc.constantFrom('2', '12'),
    'x-forwarded-for': fc.constantFrom(
      '203.0.113.9',
      '10.244.1.2, 203.0.113.9',
      '203.0.113.9, 10.0.0.1',
      'x',
    ),
  },
  { requiredKeys: [] },
);

const more = {
  host: fc.constantFrom(undefined, ...hosts),
  headers: headers.map((each): Record<string, string> => ({ ...each })),
  claims: fc.option(
    claims.map((each): Record<string, unknown> => ({ ...each })),
    { nil: undefined },
  ),
};

export const requests: fc.Arbitrary<Request> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('http' as const),
      method: fc.constantFrom(...methods),
      path: fc.constantFrom(...paths),
      ...more,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('grpc' as const),
      service: fc.constantFrom('a', 'b'),
      method: fc.constantFrom('b', 'c'),
      ...more,
    }),
  },
  { weight: 1, arbitrary: fc.constant<Request>({ type: 'bytes' }) },
);

/** Nearly all of them over TCP, and with a request more often than not. */
export const meshFlowsIn = (world: World): fc.Arbitrary<Flow> =>
  fc
    .record({
      flow: flowsIn(world),
      isTcp: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
      port: fc.constantFrom(80, 81, 443, 8080, 9),
      request: fc.option(requests, { freq: 5, nil: undefined }),
      peer: fc.option(
        fc.record(
          {
            tls: fc.constantFrom('mutual' as const, 'simple' as const, 'none' as const),
            principal: fc.constantFrom(
              'other.example/robot',
              'cluster.local/ns/a/sa/x',
              'cluster.local/ns/b/sa/y/z',
            ),
            sni: fc.constantFrom('one.example', 'two.example', ''),
            remote: fc.constantFrom('203.0.113.9', '2001:db8::1'),
          },
          { requiredKeys: [] },
        ),
        { nil: undefined },
      ),
      providers: fc.constantFrom(
        undefined,
        { opa: 'deny' as const },
        { oauth: 'deny' as const, opa: 'allow' as const },
      ),
    })
    .map(({ flow, isTcp, port, request, peer: proof, providers }) =>
      isTcp
        ? {
            ...flow,
            protocol: 'TCP' as const,
            port,
            ...(request ? { request } : {}),
            ...(proof ? { peer: proof } : {}),
            ...(providers ? { providers } : {}),
          }
        : flow,
    ) as fc.Arbitrary<Flow>;
