/** A pod runs as the account it names, else as its namespace's `default`, and finds the account's token in a volume. */
import { randomInt } from 'node:crypto';
import { POD, SERVICE_ACCOUNT } from '../../api/kinds.ts';
import type { Pod, ServiceAccount } from '../../api/types.ts';
import { keyOf, objectOf } from '../objects.ts';
import type { Admission } from './chain.ts';

type Spec = NonNullable<Pod['spec']>;

const PLACE = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Kubernetes' own: an hour, and the seconds by which its tokens are told from others. */
const SECONDS = 3607;
/** 0644 */
const MODE = 420;
/** No vowels and nothing alike: as Kubernetes' names end. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

export const serviceAccount: Admission = (
  { operation, resource, namespace, object, subresource },
  { store, accountTokens },
) => {
  if (operation !== 'create' || resource.kind !== POD || subresource !== '' || !object) return;
  const { spec } = object as unknown as Pod;
  if (!spec) return;
  spec.serviceAccountName ||= spec.serviceAccount || 'default';
  spec.serviceAccount = spec.serviceAccountName;
  if (!accountTokens) return;
  const entry = store.get(keyOf(SERVICE_ACCOUNT, namespace, spec.serviceAccountName));
  const account = entry && (objectOf(entry) as unknown as ServiceAccount);
  if (spec.automountServiceAccountToken ?? account?.automountServiceAccountToken ?? true) mountToken(spec);
};

/** In every container that has nothing there yet. */
function mountToken(spec: Spec): void {
  const lacking = [...(spec.initContainers ?? []), ...spec.containers].filter(
    ({ volumeMounts = [] }) => !volumeMounts.some(({ mountPath }) => mountPath === PLACE),
  );
  if (lacking.length === 0) return;
  const known = spec.volumes?.find(({ name }) => name.startsWith('kube-api-access-'));
  const name = known?.name ?? `kube-api-access-${suffix()}`;
  if (!known) spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
  for (const container of lacking)
    container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath: PLACE }];
}

const suffix = (): string => Array.from({ length: 5 }, () => LETTERS[randomInt(LETTERS.length)]).join('');

const tokenVolume = (name: string): NonNullable<Spec['volumes']>[number] => ({
  name,
  projected: {
    defaultMode: MODE,
    sources: [
      { serviceAccountToken: { expirationSeconds: SECONDS, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ],
  },
});
