import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress, tryParseAddress } from '../../lib/ip.ts';
import { createDecider } from '../decide.ts';
import { policyText, ruleKey } from '../decision.ts';
import { buildScene, type ResolvedFlow, resolveFlow } from '../scene.ts';
import { namespacedWorlds } from '../testing/arbitraries.ts';
import { type EnvoyConnection, matchingPolicy } from '../testing/envoy-rbac.ts';
import { meshFlowsIn, withMesh } from '../testing/mesh-arbitraries.ts';
import type { Flow } from '../world.ts';
import { buildMesh } from './mesh.ts';
import { renderRbac, type RbacFilters } from './rbac.ts';

/** Its listener has made paths normal. */
function headersOf(request: Flow['request']): ReadonlyMap<string, string> {
  const http = request?.type === 'http' || request?.type === 'grpc' ? request : undefined;
  if (!http) return new Map();
  const given = Object.entries(http.headers ?? {}).map(([name, value]): [string, string] => [
    name.toLowerCase(),
    value,
  ]);
  const path = http.type === 'grpc' ? `/${http.service}/${http.method}` : http.path;
  return new Map([
    ...given,
    [':method', http.type === 'grpc' ? 'POST' : http.method],
    [':path', path.replaceAll('%61', 'a').replace('/b/../', '/')],
    ...(http.host === undefined ? [] : [[':authority', http.host] as const]),
  ]);
}

const textOf = ({ address }: ResolvedFlow['src']) => (address ? formatAddress(address) : undefined);

/** What an Envoy at the destination sees; its JWT filter has verified the token. */
function connectionOf(flow: Flow, { src, dst, port = 0 }: ResolvedFlow, isKnown: boolean): EnvoyConnection {
  const { request, peer } = flow;
  const headers = headersOf(request);
  const pod = src.type === 'pod' ? src.pod : undefined;
  const own = pod && `cluster.local/ns/${pod.namespace}/sa/${pod.serviceAccount ?? 'default'}`;
  const principal = isKnown ? (peer?.principal ?? own) : undefined;
  const last = headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? '';
  const claims = request && 'claims' in request ? request.claims : undefined;
  return {
    directRemoteIp: textOf(src),
    remoteIp: peer?.remote ?? (tryParseAddress(last) ? last : textOf(src)),
    destinationIp: textOf(dst),
    destinationPort: port,
    requestedServerName: peer?.sni ?? '',
    principal: principal === undefined ? undefined : `spiffe://${principal}`,
    headers,
    metadata: claims ? { 'envoy.filters.http.jwt_authn': { payload: claims } } : {},
  };
}

interface Answer {
  readonly verdict: 'allow' | 'deny';
  readonly isDefault?: true;
  readonly isAsked: boolean;
  readonly isLogged: boolean;
}

/** The filters one after the other. An authorizer answers as the flow says. */
function ask(filters: RbacFilters, connection: EnvoyConnection, { providers = {} }: Flow): Answer {
  const matched = (rules: RbacFilters['deny']) =>
    rules !== undefined && matchingPolicy(rules, connection) !== undefined;
  const isAsked = matched(filters.custom?.rules);
  const more = { isAsked, isLogged: matched(filters.audit) };
  const refused = isAsked && providers[filters.custom!.provider] === 'deny';
  if (refused || matched(filters.customDeny) || matched(filters.deny)) return { verdict: 'deny', ...more };
  if (!filters.allow || matched(filters.allow)) return { verdict: 'allow', ...more };
  return { verdict: 'deny', isDefault: true, ...more };
}

const worlds = withMesh(namespacedWorlds.map((world) => ({ ...world, policies: [] })));

test('Envoy by these filters does what is decided, for HTTP and for other connections', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      worlds.chain((world) =>
        fc.record({
          world: fc.constant(world),
          flows: fc.array(meshFlowsIn(world), { minLength: 25, maxLength: 25 }),
        }),
      ),
      ({ world, flows }) => {
        const [decide, scene, mesh] = [createDecider(world), buildScene(world), buildMesh(world)];
        if (!mesh) return;
        for (const flow of flows) {
          const { mesh: side } = decide(flow);
          const resolved = resolveFlow(scene, flow);
          if (!side?.tls || !flow.request || side.reason === 'tls' || resolved.dst.type !== 'pod') continue;
          const isProxy = resolved.src.type === 'pod' && mesh.isMember(resolved.src.pod);
          const come = flow.peer?.tls ?? (isProxy ? 'mutual' : 'none');
          const isKnown = come === 'mutual' && side.tls.mode !== 'DISABLE';
          const filters = renderRbac(mesh, resolved.dst.pod, flow.request.type === 'bytes' ? 'tcp' : 'http');
          const told = ask(filters, connectionOf(flow, resolved, isKnown), flow);
          assert.deepEqual(told, {
            verdict: side.verdict,
            ...(side.reason === 'default-deny' ? { isDefault: true } : {}),
            isAsked: side.asks !== undefined,
            isLogged: side.logged !== undefined,
          });
          seen.set(side.reason, (seen.get(side.reason) ?? 0) + 1);
        }
      },
    ),
    { numRuns: 1500 },
  );
  for (const reason of ['rule', 'default-deny', 'custom', 'no-policy', 'no-rule'])
    assert.ok((seen.get(reason) ?? 0) > 20, `${reason}: ${seen.get(reason)}`);
});

test('filters are named by their rules, and written as Envoy reads them', () => {
  const policy = (name: string, spec: object) => ({
    apiVersion: 'security.istio.io/v1' as const,
    kind: 'AuthorizationPolicy' as const,
    metadata: { namespace: 'a', name },
    spec,
  });
  const pod = { namespace: 'a', name: 'p', node: 'n', labels: {}, addresses: ['10.0.0.1'], ports: [] };
  const mesh = buildMesh({
    pods: [pod],
    namespaces: [],
    mesh: [
      policy('get', {
        rules: [
          {
            from: [{ source: { namespaces: ['b'], notIpBlocks: ['10.1.2.3/16'] } }],
            to: [{ operation: { methods: ['GET'], paths: ['/a/{*}/{**}'], ports: ['80'] } }],
            when: [{ key: 'request.auth.claims[group]', values: ['x*'] }],
          },
        ],
      }),
      policy('none', {}),
    ],
  })!;
  const one = (matcher: object) => ({ or_rules: { rules: [matcher] } });
  const whose = (matcher: object) => ({ or_ids: { ids: [matcher] } });
  assert.deepEqual(renderRbac(mesh, pod, 'http'), {
    allow: {
      action: 'ALLOW',
      policies: {
        'AuthorizationPolicy a/get spec.rules[0]': {
          permissions: [
            {
              and_rules: {
                rules: [
                  one({ destination_port: 80 }),
                  one({ header: { name: ':method', string_match: { exact: 'GET' } } }),
                  one({
                    uri_template: {
                      name: 'uri-template',
                      typed_config: {
                        '@type':
                          'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
                        path_template: '/a/*/**',
                      },
                    },
                  }),
                ],
              },
            },
          ],
          principals: [
            {
              and_ids: {
                ids: [
                  whose({
                    authenticated: {
                      principal_name: { safe_regex: { regex: 'spiffe://[^/]+/ns/b/sa/[^/]+' } },
                    },
                  }),
                  { not_id: whose({ direct_remote_ip: { address_prefix: '10.1.0.0', prefix_len: 16 } }) },
                  whose({
                    metadata: {
                      filter: 'envoy.filters.http.jwt_authn',
                      path: [{ key: 'payload' }, { key: 'group' }],
                      value: {
                        or_match: {
                          value_matchers: [
                            { string_match: { prefix: 'x' } },
                            { list_match: { one_of: { string_match: { prefix: 'x' } } } },
                          ],
                        },
                      },
                    },
                  }),
                ],
              },
            },
          ],
        },
      },
    },
  });
  assert.deepEqual(renderRbac(mesh, pod, 'tcp'), { allow: { action: 'ALLOW', policies: {} } });
  assert.deepEqual(
    mesh.authorizations.map(({ ref, rules }) => [policyText(ref), rules.map((each) => ruleKey(each.ref))]),
    [
      ['AuthorizationPolicy a/get', ['AuthorizationPolicy a/get spec.rules[0]']],
      ['AuthorizationPolicy a/none', []],
    ],
  );
});
