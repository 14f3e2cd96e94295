/** Which kinds a server has: /api/v1 and, for each group, its preferred version. */
import type { Kind } from '../api/kinds.ts';
import { errorFromBody } from './api-error.ts';
import type { Client } from './types.ts';

export interface DiscoveredKind extends Kind {
  readonly verbs: readonly string[];
}

interface ResourceList {
  resources?: { name: string; kind: string; namespaced: boolean; verbs?: string[] }[];
}
interface GroupList {
  groups?: { name: string; preferredVersion?: { version: string } }[];
}

/** Subresources are left out. @throws ApiError, and what `Client` throws */
export async function discoverKinds(client: Client): Promise<DiscoveredKind[]> {
  const read = async <T>(path: string): Promise<T> => {
    const { status, text } = await client.request('GET', path);
    if (status !== 200) throw errorFromBody(status, text, `GET ${path}`);
    return JSON.parse(text) as T;
  };
  const kindsAt = async (path: string, group: string, version: string): Promise<DiscoveredKind[]> => {
    const { resources = [] } = await read<ResourceList>(path);
    return resources
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, kind, namespaced, verbs = [] }) => ({
        group,
        version,
        kind,
        resource: name,
        namespaced,
        verbs,
      }));
  };
  const { groups = [] } = await read<GroupList>('/apis');
  const lists = await Promise.all([
    kindsAt('/api/v1', '', 'v1'),
    ...groups.map(({ name, preferredVersion }) => {
      const version = preferredVersion?.version ?? 'v1';
      return kindsAt(`/apis/${name}/${version}`, name, version);
    }),
  ]);
  return lists.flat();
}
