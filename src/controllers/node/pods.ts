/** Tells the pod host which pods the node shall have, and carries back what it says of them. */
import { CONFIG_MAP, POD, SECRET, SERVICE_ACCOUNT } from '../../api/kinds.ts';
import { compileServiceSelector } from '../../api/selector.ts';
import type { ConfigMap, Pod, Secret, Service } from '../../api/types.ts';
import { ApiError, isNotFound } from '../../client/api-error.ts';
import type { Informer } from '../../client/informer.ts';
import type { Client } from '../../client/types.ts';
import { aborted } from '../../lib/signals.ts';

export interface PodsDeps {
  readonly client: Client;
  /** The pods of this node only. */
  readonly pods: Informer<Pod>;
  readonly services: Informer<Service>;
  reconcile(pods: readonly Pod[]): void;
}

interface ServedPort {
  port: number;
  protocol: string;
}

export interface PodController {
  run(signal: AbortSignal): Promise<void>;
  patchPodStatus(pod: Pod, status: object): Promise<void>;
  deletePod(pod: Pod): Promise<void>;
  /** Undefined: there is none of that name. */
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  /** For the pod's service account, bound to the pod; `expires` in milliseconds since 1970. */
  token(
    pod: Pod,
    wish: { audience?: string | undefined; seconds: number },
  ): Promise<{ token: string; expires: number }>;
  /** Those of a namespace, and the API server's own: what a program's environment names. */
  servicesOf(namespace: string): Service[];
  /** Numeric target ports of the services that select a pod: traffic comes there, declared or not. */
  targetPorts(pod: Pod): ServedPort[];
}

function numericTargets(service: Service): ServedPort[] {
  return (service.spec?.ports ?? []).flatMap(({ port, targetPort = port, protocol = 'TCP' }) =>
    typeof targetPort === 'number' ? [{ port: targetPort, protocol }] : [],
  );
}

/** A service is looked up by one pair of its selector: of thousands in a namespace few select a pod. */
const pairOf = (namespace: string | undefined, [name, value]: [string, string]): string =>
  `${namespace ?? ''} ${name}=${value}`;

export function createPodController({ client, pods, services, reconcile }: PodsDeps): PodController {
  const selecting = services.byIndex('selects', (service) => {
    const [pair] = Object.entries(service.spec?.selector ?? {});
    return pair ? [pairOf(service.metadata.namespace, pair)] : [];
  });
  const inNamespace = services.byIndex('namespace', ({ metadata }) => [metadata.namespace ?? '']);
  let isTelling = false;
  /** Once for all that changes in a turn: thousands of services come at a start. */
  const tell = () => {
    if (isTelling) return;
    isTelling = true;
    queueMicrotask(() => {
      isTelling = false;
      if (pods.hasSynced) reconcile(pods.list());
    });
  };
  return {
    async run(signal) {
      // Services come first, so that no stand-in opens fewer ports than it is asked for.
      await Promise.all([pods.synced(), services.synced()]);
      pods.onChange(tell);
      services.onChange(tell);
      tell();
      await aborted(signal);
    },
    async patchPodStatus(pod, status) {
      const { name, namespace, uid } = pod.metadata;
      // The uid is a precondition: a pod of the same name that came after it must not get its status.
      await client.patch(POD, name, namespace, { metadata: { uid }, status }, { subresource: 'status' });
    },
    async deletePod(pod) {
      const { name, namespace, uid } = pod.metadata;
      try {
        await client.delete(POD, name, namespace, { gracePeriodSeconds: 0, preconditions: { uid } });
      } catch (error) {
        if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
      }
    },
    configMap: (namespace, name) => found(client.get(CONFIG_MAP, name, namespace)),
    secret: (namespace, name) => found(client.get(SECRET, name, namespace)),
    async token(pod, { audience, seconds }) {
      const { name, namespace = '', uid } = pod.metadata;
      const account = pod.spec?.serviceAccountName ?? 'default';
      const body = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          ...(audience === undefined ? {} : { audiences: [audience] }),
          expirationSeconds: seconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
        },
      };
      const made = await client.subresource('POST', SERVICE_ACCOUNT, account, namespace, 'token', body);
      const answer = made as { status: { token: string; expirationTimestamp: string } };
      return { token: answer.status.token, expires: Date.parse(answer.status.expirationTimestamp) };
    },
    servicesOf(namespace) {
      const api = services.get('default/kubernetes');
      return [...inNamespace(namespace), ...(api && namespace !== 'default' ? [api] : [])];
    },
    targetPorts: ({ metadata }) =>
      Object.entries(metadata.labels ?? {})
        .flatMap((pair) => selecting(pairOf(metadata.namespace, pair)))
        .filter((service) => compileServiceSelector(service.spec?.selector)(metadata.labels))
        .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
        .flatMap(numericTargets),
  };
}

function found<T>(got: Promise<T>): Promise<T | undefined> {
  return got.catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
}
