/** What is served: /api, /apis, and the resources of each group and version, in the old form and the new. */
import { apiVersionOf } from '../api/kinds.ts';
import type { Resource } from '../api/resource.ts';
import { parseAccept } from './negotiate.ts';

const READ_WRITE = ['get', 'patch', 'update'];

interface Subresource {
  readonly name: string;
  readonly verbs: readonly string[];
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
}

function subresourcesOf(resource: Resource): Subresource[] {
  const { kind } = resource;
  const own = { group: kind.group, version: kind.version, kind: kind.kind };
  return [
    ...(resource.hasStatus ? [{ name: 'status', verbs: READ_WRITE, kind: own }] : []),
    ...(resource.scale
      ? [{ name: 'scale', verbs: READ_WRITE, kind: { group: 'autoscaling', version: 'v1', kind: 'Scale' } }]
      : []),
    ...(kind.kind === 'ServiceAccount'
      ? [
          {
            name: 'token',
            verbs: ['create'],
            kind: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' },
          },
        ]
      : []),
    ...(kind.kind === 'Namespace' ? [{ name: 'finalize', verbs: ['update'], kind: own }] : []),
    ...(kind.kind === 'Pod'
      ? [
          { name: 'binding', verbs: ['create'], kind: { group: '', version: 'v1', kind: 'Binding' } },
          {
            name: 'eviction',
            verbs: ['create'],
            kind: { group: 'policy', version: 'v1', kind: 'Eviction' },
          },
          { name: 'log', verbs: ['get'], kind: own },
          { name: 'ephemeralcontainers', verbs: READ_WRITE, kind: own },
          ...[
            ['exec', 'PodExecOptions'],
            ['attach', 'PodAttachOptions'],
            ['portforward', 'PodPortForwardOptions'],
          ].map(([name = '', options = '']) => ({
            name,
            verbs: ['create', 'get'],
            kind: { group: '', version: 'v1', kind: options },
          })),
        ]
      : []),
  ];
}

export interface Discovery {
  /** The answer to a discovery path, or undefined when it is none. */
  answer(path: string, accept: string | undefined): { body: unknown; contentType: string } | undefined;
}

export function createDiscovery(registry: readonly Resource[]): Discovery {
  const groups = new Map<string, Set<string>>();
  for (const { kind } of registry) {
    const versions = groups.get(kind.group) ?? new Set();
    groups.set(kind.group, versions.add(kind.version));
  }
  const named = [...groups].filter(([group]) => group !== '');
  const answers = new Map<string, unknown>([
    ['/api', { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }],
    [
      '/apis',
      {
        kind: 'APIGroupList',
        apiVersion: 'v1',
        groups: named.map(([group, versions]) => groupOf(group, versions)),
      },
    ],
    ...named.map(
      ([group, versions]) =>
        [`/apis/${group}`, { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group, versions) }] as const,
    ),
    ...[...groups].flatMap(([group, versions]) =>
      [...versions].map(
        (version) =>
          [
            group === '' ? `/api/${version}` : `/apis/${group}/${version}`,
            resourceList(registry, group, version),
          ] as const,
      ),
    ),
  ]);
  const aggregated = new Map<string, unknown[]>([
    ['/api', [...groups].filter(([group]) => group === '').map(([g, v]) => aggregatedGroup(registry, g, v))],
    ['/apis', named.map(([group, versions]) => aggregatedGroup(registry, group, versions))],
  ]);
  return {
    answer(path, accept) {
      const items = aggregated.get(path);
      const wanted =
        items && parseAccept(accept).find(({ parameters: p }) => p['as'] === 'APIGroupDiscoveryList');
      const version = wanted?.parameters['v'];
      if (items && (version === 'v2' || version === 'v2beta1'))
        return {
          contentType: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
          body: {
            kind: 'APIGroupDiscoveryList',
            apiVersion: `apidiscovery.k8s.io/${version}`,
            metadata: {},
            items,
          },
        };
      const body = answers.get(path);
      return body === undefined ? undefined : { body, contentType: 'application/json' };
    },
  };
}

function groupOf(group: string, versions: ReadonlySet<string>) {
  const list = [...versions].map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: list, preferredVersion: list[0] };
}

const served = (registry: readonly Resource[], group: string, version: string) =>
  registry.filter(({ kind }) => kind.group === group && kind.version === version);

function resourceList(registry: readonly Resource[], group: string, version: string) {
  const resources = served(registry, group, version);
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf(resources[0]!.kind),
    resources: resources.flatMap((resource) => {
      const { kind, singular, verbs, shortNames, categories } = resource;
      return [
        {
          name: kind.resource,
          singularName: singular,
          namespaced: kind.namespaced,
          kind: kind.kind,
          verbs,
          ...(shortNames.length > 0 ? { shortNames } : {}),
          ...(categories.length > 0 ? { categories } : {}),
        },
        ...subresourcesOf(resource).map((sub) => ({
          name: `${kind.resource}/${sub.name}`,
          singularName: '',
          namespaced: kind.namespaced,
          ...(sub.kind.group === kind.group && sub.kind.version === kind.version
            ? {}
            : { group: sub.kind.group, version: sub.kind.version }),
          kind: sub.kind.kind,
          verbs: sub.verbs,
        })),
      ];
    }),
  };
}

function aggregatedGroup(registry: readonly Resource[], group: string, versions: ReadonlySet<string>) {
  return {
    metadata: { name: group, creationTimestamp: null },
    versions: [...versions].map((version) => ({
      version,
      freshness: 'Current',
      resources: served(registry, group, version).map((resource) => {
        const { kind, singular, verbs, shortNames, categories } = resource;
        const subresources = subresourcesOf(resource);
        return {
          resource: kind.resource,
          responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
          scope: kind.namespaced ? 'Namespaced' : 'Cluster',
          singularResource: singular,
          verbs,
          ...(shortNames.length > 0 ? { shortNames } : {}),
          ...(categories.length > 0 ? { categories } : {}),
          ...(subresources.length > 0
            ? {
                subresources: subresources.map((sub) => ({
                  subresource: sub.name,
                  responseKind: sub.kind,
                  verbs: sub.verbs,
                })),
              }
            : {}),
        };
      }),
    })),
  };
}
