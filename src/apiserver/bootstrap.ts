/** What every cluster has from its first start: its namespaces, and the API server as a Service. */
import { SERVICE_NAME, SLICE_MANAGER } from '../api/labels.ts';
import type { Resource } from '../api/resource.ts';
import type { KubeObject } from '../api/types.ts';
import { contains, parseCidr, tryParseAddress } from '../lib/ip.ts';
import type { User } from './authenticate.ts';
import { IMMORTAL } from './admission/namespace-lifecycle.ts';
import type { Deps } from './deps.ts';
import { ApiFailure } from './failure.ts';
import { changeObject, createObject, mustFind } from './writes.ts';

export interface BootstrapOptions {
  /** Where the API server listens for the cluster. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Addresses of the `kubernetes` Service: the first of each service range. */
  readonly serviceAddresses: readonly string[];
}

const SELF: User = { name: 'system:apiserver', groups: ['system:masters'] };
/** Tells controllers that the slice is not theirs. */

const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(parseCidr);

type BootstrapDeps = Pick<Deps, 'store' | 'addresses' | 'clock' | 'registry'>;

export async function bootstrap(deps: BootstrapDeps, options: BootstrapOptions): Promise<void> {
  for (const name of IMMORTAL)
    await ensure(deps, 'Namespace', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await ensure(deps, 'Service', serviceOf(options));
  for (const family of [4, 6] as const) {
    const addresses = options.addresses.filter((text) => isReachable(text, family));
    if (addresses.length > 0) await ensure(deps, 'EndpointSlice', sliceOf(family, addresses, options.port));
  }
}

/** A loopback address leads no pod to the API server, and is refused in a slice. */
function isReachable(text: string, family: 4 | 6): boolean {
  const address = tryParseAddress(text);
  return address?.family === family && !LOOPBACK.some((range) => contains(range, address));
}

function serviceOf({ serviceAddresses, port }: BootstrapOptions): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kubernetes',
      namespace: 'default',
      labels: { component: 'apiserver', provider: 'kubernetes' },
    },
    spec: {
      clusterIP: serviceAddresses[0],
      clusterIPs: [...serviceAddresses],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: port }],
    },
  };
}

function sliceOf(family: 4 | 6, addresses: readonly string[], port: number): KubeObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: family === 4 ? 'kubernetes' : 'kubernetes-ipv6',
      namespace: 'default',
      labels: { [SERVICE_NAME]: 'kubernetes', [SLICE_MANAGER]: 'apiserver.heddle.dev' },
    },
    addressType: `IPv${family}`,
    endpoints: [
      { addresses: [...addresses], conditions: { ready: true, serving: true, terminating: false } },
    ],
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  };
}

/** Made when absent; a slice is brought up to date, because the server may have moved. */
async function ensure(deps: BootstrapDeps, kindName: string, object: KubeObject): Promise<void> {
  const resource: Resource = mustFind(deps.registry, kindName);
  const namespace = object.metadata.namespace ?? '';
  const target = { resource, namespace, user: SELF, dryRun: false, warn: () => {} };
  try {
    await createObject(deps, target, object);
  } catch (error) {
    if (!(error instanceof ApiFailure) || error.reason !== 'AlreadyExists') throw error;
    if (kindName !== 'EndpointSlice') return;
    await changeObject(deps, target, {
      name: object.metadata.name,
      subresource: '',
      retries: 5,
      apply: (before) => ({ ...before, endpoints: object['endpoints'], ports: object['ports'] }),
    });
  }
}
