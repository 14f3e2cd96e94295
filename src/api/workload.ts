/** What Deployments and ReplicaSets share: replicas, and a selector that must find the template's pods. */
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IPodTemplateSpec } from 'kubernetes-models/v1/PodTemplateSpec';
import { text } from './columns.ts';
import { invalid, notSupported, type Problems, required } from './field-error.ts';
import { validateLabelSelector } from './label-selector.ts';
import { validateTemplate } from './pod-validation.ts';
import type { Column } from './resource.ts';
import { compileSelector, type LabelSelector, selectorText } from './selector.ts';

export interface WorkloadSpec {
  replicas?: number;
  minReadySeconds?: number;
  selector: LabelSelector;
  template?: IPodTemplateSpec;
}

export function* notNegative(field: string, value: number | undefined): Problems {
  if (value !== undefined && value < 0) yield invalid(field, value, 'must be greater than or equal to 0');
}

export function* validateWorkload(spec: WorkloadSpec | undefined): Problems {
  if (!spec) {
    yield required('spec');
    return;
  }
  yield* notNegative('spec.replicas', spec.replicas);
  yield* notNegative('spec.minReadySeconds', spec.minReadySeconds);
  const { selector } = spec;
  if (!selector) yield required('spec.selector');
  else {
    yield* validateLabelSelector(selector, 'spec.selector');
    const empty =
      Object.keys(selector.matchLabels ?? {}).length + (selector.matchExpressions?.length ?? 0) === 0;
    if (empty) yield invalid('spec.selector', selector, 'empty selector is invalid for deployment');
    else if (!compileSelector(selector)(spec.template?.metadata?.labels))
      yield invalid(
        'spec.template.metadata.labels',
        spec.template?.metadata?.labels ?? {},
        '`selector` does not match template `labels`',
      );
  }
  yield* validateTemplate(spec.template, 'spec.template');
  const policy = spec.template?.spec?.restartPolicy;
  if (policy && policy !== 'Always')
    yield notSupported('spec.template.spec.restartPolicy', policy, ['Always']);
}

const containers = (spec: IPodSpec | undefined) => spec?.containers ?? [];

export function workloadColumns<T extends { spec?: WorkloadSpec }>(): Column<T>[] {
  return [
    text(
      'Containers',
      'Names of its containers.',
      (o) =>
        containers(o.spec?.template?.spec)
          .map((c) => c.name)
          .join(','),
      true,
    ),
    text(
      'Images',
      'Images of its containers.',
      (o) =>
        containers(o.spec?.template?.spec)
          .map((c) => c.image ?? '')
          .join(','),
      true,
    ),
    text('Selector', 'The pods it owns.', (o) => selectorText(o.spec?.selector), true),
  ];
}
