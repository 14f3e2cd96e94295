/** Containers for looking into a pod that runs: added through `pods/ephemeralcontainers`, never changed or removed. */
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import { sameJson } from '../lib/json.ts';
import { validateContainer } from './container-validation.ts';
import { duplicate, forbidden, type Problems } from './field-error.ts';
import type { Pod } from './types.ts';

const NOT_THEIRS = [
  'ports',
  'livenessProbe',
  'readinessProbe',
  'startupProbe',
  'lifecycle',
  'resizePolicy',
  'restartPolicy',
  'restartPolicyRules',
] as const;

export function* validateEphemeralContainers(spec: IPodSpec, path: string): Problems {
  const targets = new Set((spec.containers ?? []).map(({ name }) => name));
  const names = new Set([...targets, ...(spec.initContainers ?? []).map(({ name }) => name)]);
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name));
  for (const [i, container] of (spec.ephemeralContainers ?? []).entries()) {
    const at = `${path}.ephemeralContainers[${i}]`;
    yield* validateContainer(container, at, { volumes, hostNetwork: false, init: false });
    if (names.has(container.name)) yield duplicate(`${at}.name`, container.name);
    names.add(container.name);
    const { targetContainerName: target } = container;
    if (target && !targets.has(target))
      yield {
        type: 'FieldValueNotFound',
        field: `${at}.targetContainerName`,
        message: `Not found: ${JSON.stringify(target)}`,
        value: target,
      };
    const given = container as unknown as Record<string, unknown>;
    for (const name of NOT_THEIRS)
      if (isThere(given[name])) yield forbidden(`${at}.${name}`, 'cannot be set for an Ephemeral Container');
    if (Object.keys(container.resources ?? {}).length > 0)
      yield forbidden(`${at}.resources`, 'cannot be set for an Ephemeral Container');
    for (const [j, mount] of (container.volumeMounts ?? []).entries())
      for (const name of ['subPath', 'subPathExpr'] as const)
        if (mount[name])
          yield forbidden(`${at}.volumeMounts[${j}].${name}`, 'cannot be set for an Ephemeral Container');
  }
}

const isThere = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null && value !== '';

/** `before` is undefined for a new pod. */
export function* ephemeralProblems(now: Pod, before: Pod | undefined, subresource: string): Problems {
  const [list, old] = [now, before].map((pod) => pod?.spec?.ephemeralContainers ?? []);
  if (before === undefined) {
    if (list!.length > 0) yield forbidden('spec.ephemeralContainers', 'cannot be set on create');
  } else if (subresource === 'ephemeralcontainers') yield* validateEphemeralUpdate(now, before);
  else if (!sameJson(list, old))
    yield forbidden('spec.ephemeralContainers', 'may be changed by the subresource ephemeralcontainers only');
}

function* validateEphemeralUpdate(now: Pod, before: Pod): Problems {
  const list = now.spec?.ephemeralContainers ?? [];
  for (const old of before.spec?.ephemeralContainers ?? []) {
    const same = list.find(({ name }) => name === old.name);
    const why = same === undefined ? 'removed' : sameJson(same, old) ? undefined : 'changed';
    if (why)
      yield forbidden(
        'spec.ephemeralContainers',
        `existing ephemeral containers "${old.name}" may not be ${why}\n`,
      );
  }
}
