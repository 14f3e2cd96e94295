/** Nothing is made in a namespace that is absent or ending; the namespaces the cluster needs stay. */
import { NAMESPACE } from '../../api/kinds.ts';
import type { Namespace } from '../../api/types.ts';
import { forbidden, notFound } from '../failure.ts';
import { keyOf, objectOf } from '../objects.ts';
import type { Admission } from './chain.ts';

export const IMMORTAL = ['default', 'kube-system', 'kube-public'] as const;

export const namespaceLifecycle: Admission = (request, { store }) => {
  const { operation, resource, namespace, name, subresource } = request;
  if (operation === 'delete') {
    const immortal = (IMMORTAL as readonly string[]).includes(name);
    if (resource.kind === NAMESPACE && immortal)
      throw forbidden(resource.kind, name, 'this namespace may not be deleted');
    return;
  }
  if (operation !== 'create' || !resource.kind.namespaced || subresource !== '') return;
  const entry = store.get(keyOf(NAMESPACE, undefined, namespace));
  if (!entry) throw notFound(NAMESPACE, namespace);
  if ((objectOf(entry) as Namespace).metadata.deletionTimestamp)
    throw forbidden(
      resource.kind,
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
      [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    );
};
