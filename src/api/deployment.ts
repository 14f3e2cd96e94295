import { ageColumn, integer, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, immutable, invalid, oneOf, type Problems } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { DEPLOYMENT } from './kinds.ts';
import { setPodSpecDefaults } from './pod-defaults.ts';
import type { Deployment } from './types.ts';
import { notNegative, validateWorkload, workloadColumns } from './workload.ts';

const PERCENT = /^\d+%$/;

/** A number or a percentage of the replicas. */
function* validateShare(value: number | string | undefined, path: string, most?: number): Problems {
  if (value === undefined) return;
  if (typeof value === 'number') {
    yield* notNegative(path, value);
    return;
  }
  if (!PERCENT.test(value))
    yield invalid(
      path,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
  else if (most !== undefined && Number.parseInt(value, 10) > most)
    yield invalid(path, value, `must not be greater than ${most}%`);
}

const isZero = (value: number | string | undefined): boolean => value === 0 || value === '0%';

function* validateStrategy(deployment: Deployment): Problems {
  const strategy = deployment.spec?.strategy;
  if (!strategy) return;
  yield* oneOf('spec.strategy.type', strategy.type, ['Recreate', 'RollingUpdate']);
  const rolling = strategy.rollingUpdate;
  const at = 'spec.strategy.rollingUpdate';
  if (strategy.type === 'Recreate') {
    if (rolling) yield forbidden(at, "may not be specified when strategy `type` is 'Recreate'");
    return;
  }
  yield* validateShare(rolling?.maxUnavailable, `${at}.maxUnavailable`, 100);
  yield* validateShare(rolling?.maxSurge, `${at}.maxSurge`);
  if (isZero(rolling?.maxUnavailable) && isZero(rolling?.maxSurge))
    yield invalid(`${at}.maxUnavailable`, rolling?.maxUnavailable, 'may not be 0 when `maxSurge` is 0');
}

function setDefaults(deployment: Deployment): void {
  const { spec } = deployment;
  deployment.status ??= {};
  if (!spec) return;
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  spec.strategy ??= {};
  spec.strategy.type ??= 'RollingUpdate';
  if (spec.strategy.type === 'RollingUpdate') {
    spec.strategy.rollingUpdate ??= {};
    spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
    spec.strategy.rollingUpdate.maxSurge ??= '25%';
  }
  if (spec.template?.spec) setPodSpecDefaults(spec.template.spec);
}

export const deployment = define<Deployment>({
  kind: DEPLOYMENT,
  singular: 'deployment',
  shortNames: ['deploy'],
  categories: ['all'],
  hasStatus: true,
  scale: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text(
      'Ready',
      'Pods that are ready, of those wanted.',
      (d) => `${d.status?.readyReplicas ?? 0}/${d.spec?.replicas ?? 1}`,
    ),
    integer('Up-to-date', 'Pods of the newest template.', (d) => d.status?.updatedReplicas ?? 0),
    integer('Available', 'Pods that have been ready long enough.', (d) => d.status?.availableReplicas ?? 0),
    ageColumn,
    ...workloadColumns<Deployment>(),
  ],
  setDefaults,
  *validate(d) {
    yield* validateWorkload(d.spec);
    yield* validateStrategy(d);
    const { progressDeadlineSeconds: deadline, minReadySeconds: ready = 0 } = d.spec ?? {};
    yield* notNegative('spec.revisionHistoryLimit', d.spec?.revisionHistoryLimit);
    if (deadline !== undefined && deadline <= ready)
      yield invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds');
  },
  *validateUpdate(now, before) {
    yield* immutable('spec.selector', now.spec?.selector, before.spec?.selector);
  },
});
