import { ageColumn, integer, nameColumn } from './columns.ts';
import { define } from './define.ts';
import { immutable } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { REPLICA_SET } from './kinds.ts';
import { setPodSpecDefaults } from './pod-defaults.ts';
import type { ReplicaSet } from './types.ts';
import { validateWorkload, workloadColumns } from './workload.ts';

export const replicaSet = define<ReplicaSet>({
  kind: REPLICA_SET,
  singular: 'replicaset',
  shortNames: ['rs'],
  categories: ['all'],
  hasStatus: true,
  scale: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    integer('Desired', 'Pods wanted.', (r) => r.spec?.replicas ?? 1),
    integer('Current', 'Pods there.', (r) => r.status?.replicas ?? 0),
    integer('Ready', 'Pods that are ready.', (r) => r.status?.readyReplicas ?? 0),
    ageColumn,
    ...workloadColumns<ReplicaSet>(),
  ],
  setDefaults(r) {
    r.status ??= { replicas: 0 };
    if (!r.spec) return;
    r.spec.replicas ??= 1;
    if (r.spec.template?.spec) setPodSpecDefaults(r.spec.template.spec);
  },
  *validate(r) {
    yield* validateWorkload(r.spec);
  },
  *validateUpdate(now, before) {
    yield* immutable('spec.selector', now.spec?.selector, before.spec?.selector);
  },
  selectable: { 'status.replicas': (r) => String(r.status?.replicas ?? 0) },
});
