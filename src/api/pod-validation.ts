/** Pods and pod templates. */
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IPodTemplateSpec } from 'kubernetes-models/v1/PodTemplateSpec';
import type { IToleration } from 'kubernetes-models/v1/Toleration';
import { tryParseAddress } from '../lib/ip.ts';
import { clone, sameJson } from '../lib/json.ts';
import { validateContainer } from './container-validation.ts';
import {
  duplicate,
  forbidden,
  formatted,
  invalid,
  notSupported,
  oneOf,
  type Problems,
  required,
} from './field-error.ts';
import { dns1123Label, dns1123Subdomain, labelValue, qualifiedName } from './formats.ts';
import { validateLabelSelector } from './label-selector.ts';
import { validateEphemeralContainers } from './ephemeral-containers.ts';
import { validateAnnotations, validateLabels } from './metadata.ts';
import { validateBandwidth } from './pod-bandwidth.ts';
import type { Pod } from './types.ts';
import { validateVolumes } from './volume-validation.ts';

export function* validatePodSpec(spec: IPodSpec, path: string): Problems {
  yield* validateVolumes(spec.volumes ?? [], `${path}.volumes`);
  yield* validateContainers(spec, path);
  yield* validateEphemeralContainers(spec, path);
  yield* oneOf(`${path}.restartPolicy`, spec.restartPolicy, ['Always', 'OnFailure', 'Never']);
  yield* validateDns(spec, path);
  yield* validateLabels(spec.nodeSelector, `${path}.nodeSelector`);
  if (spec.serviceAccountName)
    yield* formatted(`${path}.serviceAccountName`, spec.serviceAccountName, dns1123Subdomain);
  if (spec.nodeName) yield* formatted(`${path}.nodeName`, spec.nodeName, dns1123Subdomain);
  if (spec.hostname) yield* formatted(`${path}.hostname`, spec.hostname, dns1123Label);
  if (spec.subdomain) yield* formatted(`${path}.subdomain`, spec.subdomain, dns1123Label);
  if (spec.activeDeadlineSeconds !== undefined && spec.activeDeadlineSeconds < 1)
    yield invalid(
      `${path}.activeDeadlineSeconds`,
      spec.activeDeadlineSeconds,
      'must be between 1 and 2147483647, inclusive',
    );
  const grace = spec.terminationGracePeriodSeconds;
  if (grace !== undefined && grace < 0)
    yield invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than or equal to 0');
  for (const [i, toleration] of (spec.tolerations ?? []).entries())
    yield* validateToleration(toleration, `${path}.tolerations[${i}]`);
  yield* validateSpread(spec, path);
  for (const [i, alias] of (spec.hostAliases ?? []).entries()) {
    if (!tryParseAddress(alias.ip))
      yield invalid(
        `${path}.hostAliases[${i}].ip`,
        alias.ip,
        'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      );
    for (const [j, name] of (alias.hostnames ?? []).entries())
      yield* formatted(`${path}.hostAliases[${i}].hostnames[${j}]`, name, dns1123Subdomain);
  }
}

function* validateContainers(spec: IPodSpec, path: string): Problems {
  const volumes = new Set((spec.volumes ?? []).map((v) => v.name));
  const names = new Set<string>();
  const hostNetwork = spec.hostNetwork ?? false;
  if ((spec.containers?.length ?? 0) === 0) yield required(`${path}.containers`);
  for (const list of ['initContainers', 'containers'] as const)
    for (const [i, container] of (spec[list] ?? []).entries()) {
      const at = `${path}.${list}[${i}]`;
      yield* validateContainer(container, at, { volumes, hostNetwork, init: list === 'initContainers' });
      if (names.has(container.name)) yield duplicate(`${at}.name`, container.name);
      names.add(container.name);
    }
  const taken = new Map<string, string>();
  for (const [i, container] of (spec.containers ?? []).entries())
    for (const [j, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`;
      if (taken.has(key)) yield duplicate(`${path}.containers[${i}].ports[${j}].hostPort`, port.hostPort);
      taken.set(key, container.name);
    }
}

function* validateDns(spec: IPodSpec, path: string): Problems {
  yield* oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, [
    'ClusterFirstWithHostNet',
    'ClusterFirst',
    'Default',
    'None',
  ]);
  const servers = spec.dnsConfig?.nameservers ?? [];
  if (spec.dnsPolicy === 'None' && servers.length === 0)
    yield required(
      `${path}.dnsConfig.nameservers`,
      'must provide at least one DNS nameserver when `dnsPolicy` is None',
    );
  if (servers.length > 3)
    yield invalid(`${path}.dnsConfig.nameservers`, servers, 'must not have more than 3 nameservers');
  for (const [i, server] of servers.entries())
    if (!tryParseAddress(server))
      yield invalid(
        `${path}.dnsConfig.nameservers[${i}]`,
        server,
        'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      );
}

function* validateToleration(toleration: IToleration, path: string): Problems {
  if (toleration.key) yield* formatted(`${path}.key`, toleration.key, qualifiedName);
  else if (toleration.operator !== 'Exists')
    yield invalid(
      `${path}.operator`,
      toleration.operator ?? '',
      'operator must be Exists when `key` is empty, which means "match all values and all keys"',
    );
  yield* oneOf(`${path}.operator`, toleration.operator || undefined, ['Equal', 'Exists', 'Gt', 'Lt']);
  if (toleration.operator === 'Exists' && toleration.value)
    yield invalid(`${path}.operator`, toleration.value, "value must be empty when `operator` is 'Exists'");
  else yield* formatted(`${path}.value`, toleration.value ?? '', labelValue);
  yield* oneOf(`${path}.effect`, toleration.effect || undefined, [
    'NoSchedule',
    'PreferNoSchedule',
    'NoExecute',
  ]);
  if (toleration.tolerationSeconds !== undefined && toleration.effect !== 'NoExecute')
    yield invalid(
      `${path}.effect`,
      toleration.effect ?? '',
      "effect must be 'NoExecute' when `tolerationSeconds` is set",
    );
}

function* validateSpread(spec: IPodSpec, path: string): Problems {
  for (const [i, constraint] of (spec.topologySpreadConstraints ?? []).entries()) {
    const at = `${path}.topologySpreadConstraints[${i}]`;
    if (!(constraint.maxSkew > 0))
      yield invalid(`${at}.maxSkew`, constraint.maxSkew, 'must be greater than zero');
    if (!constraint.topologyKey) yield required(`${at}.topologyKey`, 'can not be empty');
    if (!['DoNotSchedule', 'ScheduleAnyway'].includes(constraint.whenUnsatisfiable))
      yield notSupported(`${at}.whenUnsatisfiable`, constraint.whenUnsatisfiable, [
        'DoNotSchedule',
        'ScheduleAnyway',
      ]);
    yield* validateLabelSelector(constraint.labelSelector, `${at}.labelSelector`);
  }
}

export function* validateTemplate(template: IPodTemplateSpec | undefined, path: string): Problems {
  if (!template) {
    yield required(path);
    return;
  }
  yield* validateLabels(template.metadata?.labels, `${path}.metadata.labels`);
  yield* validateAnnotations(template.metadata?.annotations, `${path}.metadata.annotations`);
  yield* validateBandwidth(template.metadata?.annotations, `${path}.metadata.annotations`);
  if (!template.spec) yield required(`${path}.spec.containers`);
  else yield* validatePodSpec(template.spec, `${path}.spec`);
}

const PATCHABLE =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.terminationGracePeriodSeconds`,`spec.tolerations` (only additions to existing tolerations)';

/** A pod's spec stays, but for images, deadlines, added tolerations and the node it is bound to once. */
export function* validatePodUpdate(now: Pod, before: Pod): Problems {
  if (!now.spec || !before.spec) return;
  const same = clone(now.spec);
  const old = before.spec;
  for (const list of ['containers', 'initContainers'] as const)
    for (const [i, container] of (same[list] ?? []).entries())
      container.image = old[list]?.[i]?.image ?? container.image;
  same.activeDeadlineSeconds = old.activeDeadlineSeconds;
  same.terminationGracePeriodSeconds = old.terminationGracePeriodSeconds;
  same.schedulingGates = old.schedulingGates;
  same.ephemeralContainers = old.ephemeralContainers;
  if (!old.nodeName) same.nodeName = old.nodeName;
  const kept = (old.tolerations ?? []).every((t) =>
    now.spec?.tolerations?.some((other) => sameJson(t, other)),
  );
  if (kept) same.tolerations = old.tolerations;
  if (!sameJson(same, old)) yield forbidden('spec', PATCHABLE);
  const gates = (now.spec.schedulingGates ?? []).map((g) => g.name);
  if (gates.some((gate) => !old.schedulingGates?.some((g) => g.name === gate)))
    yield forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate');
}
