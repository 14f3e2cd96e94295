import { define } from './define.ts';
import { required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { POD } from './kinds.ts';
import { podColumns } from './pod-columns.ts';
import { qosClass, setPodSpecDefaults } from './pod-defaults.ts';
import { validateBandwidth } from './pod-bandwidth.ts';
import { validatePodSpec, validatePodUpdate } from './pod-validation.ts';
import type { Pod } from './types.ts';

export const pod = define<Pod>({
  kind: POD,
  singular: 'pod',
  shortNames: ['po'],
  categories: ['all'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: podColumns,
  setDefaults(p) {
    p.status ??= {};
    p.status.phase ??= 'Pending';
    if (!p.spec) return;
    setPodSpecDefaults(p.spec);
    p.spec.enableServiceLinks ??= true;
    p.status.qosClass ??= qosClass(p.spec);
  },
  *validate(p) {
    if (!p.spec) yield required('spec.containers');
    else yield* validatePodSpec(p.spec, 'spec');
    yield* validateBandwidth(p.metadata.annotations, 'metadata.annotations');
  },
  validateUpdate: validatePodUpdate,
  selectable: {
    'spec.nodeName': (p) => p.spec?.nodeName ?? '',
    'spec.restartPolicy': (p) => p.spec?.restartPolicy ?? '',
    'spec.schedulerName': (p) => p.spec?.schedulerName ?? '',
    'spec.serviceAccountName': (p) => p.spec?.serviceAccountName ?? '',
    'spec.hostNetwork': (p) => String(p.spec?.hostNetwork ?? false),
    'status.phase': (p) => p.status?.phase ?? '',
    'status.podIP': (p) => p.status?.podIP ?? '',
    'status.nominatedNodeName': (p) => p.status?.nominatedNodeName ?? '',
  },
});
