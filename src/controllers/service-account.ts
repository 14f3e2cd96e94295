/** What every namespace has: the service account `default`, and the authority that pods trust the API by. */
import { CONFIG_MAP, SERVICE_ACCOUNT } from '../api/kinds.ts';
import type { ConfigMap } from '../api/types.ts';
import { ApiError, isAlreadyExists, isNotFound } from '../client/api-error.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced } from './loop.ts';

const NAME = 'service-account-controller';
const ACCOUNT = 'default';
const ROOT_CA = 'kube-root-ca.crt';

/** `ca`: PEM of the cluster's authority. */
export function createServiceAccountController(deps: ControllerDeps, options: { ca: string }): Controller {
  const { client, informers } = deps;
  const { namespaces, serviceAccounts, configMaps } = informers;
  /** Revision of each namespace's ConfigMap that was seen to hold the authority. */
  const checked = new Map<string, string>();
  const queue = queueFor(deps, 'service-account', reconcile, { concurrency: 4 });

  async function reconcile(namespace: string): Promise<void> {
    const object = namespaces.get(namespace);
    if (!object || object.metadata.deletionTimestamp) return;
    if (!serviceAccounts.get(`${namespace}/${ACCOUNT}`)) await createAccount(namespace);
    await ensureRootCa(namespace);
  }

  async function createAccount(namespace: string): Promise<void> {
    const account = {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: ACCOUNT, namespace },
    } as const;
    const made = await client.create(SERVICE_ACCOUNT, account).catch(ignore(isAlreadyExists, isEnding));
    if (made) serviceAccounts.remember(made);
  }

  async function ensureRootCa(namespace: string): Promise<void> {
    const known = configMaps.get(`${namespace}/${ROOT_CA}`);
    const revision = known?.metadata.resourceVersion ?? '';
    if (known && checked.get(namespace) === revision) return;
    const wanted: ConfigMap = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: ROOT_CA,
        namespace,
        annotations: {
          'kubernetes.io/description':
            'Contains a CA bundle that can be used to verify the API server from within the cluster.',
        },
      },
      data: { 'ca.crt': options.ca },
    };
    if (!known) {
      const made = await client.create(CONFIG_MAP, wanted).catch(ignore(isAlreadyExists, isEnding));
      if (made) configMaps.remember(made);
      return;
    }
    const stored = await client.get(CONFIG_MAP, ROOT_CA, namespace).catch(ignore(isNotFound));
    if (!stored) return;
    const right = stored.data?.['ca.crt'] === options.ca && Object.keys(stored.data).length === 1;
    const now = right ? stored : await client.update(CONFIG_MAP, { ...stored, data: wanted.data });
    checked.set(namespace, now.metadata.resourceVersion ?? '');
  }

  namespaces.onChange((key, now) => {
    if (now) queue.add(key);
    else checked.delete(key);
  });
  serviceAccounts.onChange((key) => {
    if (key.endsWith(`/${ACCOUNT}`)) queue.add(key.slice(0, -ACCOUNT.length - 1));
  });
  configMaps.onChange((key) => {
    if (key.endsWith(`/${ROOT_CA}`)) queue.add(key.slice(0, -ROOT_CA.length - 1));
  });
  return {
    name: NAME,
    run: (signal) => runWhenSynced(queue, [namespaces, serviceAccounts, configMaps], signal),
  };
}

/** Refused because the namespace ends. */
const isEnding = (error: unknown): boolean =>
  error instanceof ApiError && error.code === 403 && /terminat/i.test(error.message);

const ignore =
  (...expected: ((error: unknown) => boolean)[]) =>
  (error: unknown): undefined => {
    if (!expected.some((is) => is(error))) throw error;
    return undefined;
  };
