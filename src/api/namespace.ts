import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { dns1123Label } from './formats.ts';
import { NAMESPACE } from './kinds.ts';
import { NAMESPACE_NAME } from './labels.ts';
import type { Namespace } from './types.ts';

export const namespace = define<Namespace>({
  kind: NAMESPACE,
  singular: 'namespace',
  shortNames: ['ns'],
  hasStatus: true,
  name: dns1123Label,
  columns: [
    nameColumn,
    text('Status', 'Whether objects can be created in it.', (ns) => ns.status?.phase ?? 'Active'),
    ageColumn,
  ],
  setDefaults(ns) {
    if (ns.metadata.name) ns.metadata.labels = { ...ns.metadata.labels, [NAMESPACE_NAME]: ns.metadata.name };
    ns.spec ??= {};
    ns.spec.finalizers ??= ns.metadata.deletionTimestamp ? [] : ['kubernetes'];
    ns.status ??= {};
    ns.status.phase ??= 'Active';
  },
  selectable: { 'status.phase': (ns) => ns.status?.phase ?? '' },
});
