/** A pod runs as the account it names, else as its namespace's `default`. */
import { POD } from '../../api/kinds.ts';
import type { Pod } from '../../api/types.ts';
import type { Admission } from './chain.ts';

export const serviceAccount: Admission = ({ operation, resource, object, subresource }) => {
  if (operation !== 'create' || resource.kind !== POD || subresource !== '' || !object) return;
  const { spec } = object as unknown as Pod;
  if (!spec) return;
  spec.serviceAccountName ||= spec.serviceAccount || 'default';
  spec.serviceAccount = spec.serviceAccountName;
};
