/** The parts of objects that analysis reads, checked: nothing that is mistyped may be taken for something else. */
import { isCalico } from '../../api/calico-types.ts';
import { findKind } from '../../api/registry.ts';
import { typeErrors, unknownFields } from '../../api/schema/check.ts';
import type { KubeObject } from '../../api/types.ts';
import { isObject } from '../../lib/json.ts';
import { lowerPolicies, type PolicyObject } from '../../policy/objects.ts';
import type { Surroundings } from '../../policy/world.ts';
import { lowerMesh } from '../../policy/mesh/mesh.ts';
import type { MeshObject } from '../../policy/mesh/objects.ts';
import {
  groupOf,
  isMesh,
  isPolicy,
  isWorkloadTemplate,
  templatePath,
} from '../../policy/analyse/object-kinds.ts';

import { isOpener, openerProblems } from '../../policy/openings/kinds.ts';

export interface ObjectProblem {
  /** Within the object: `spec.ingress[0].from[0].ipBlock.cidr` */
  readonly path: string;
  readonly message: string;
  /** It names what is not there, which is nobody: no reason to refuse it. */
  readonly absent?: true;
}

export interface CheckObjectOptions {
  /** What can be read but means nothing (a broken CIDR) is left for lint. */
  readonly lenient?: boolean;
  /** What policies refer to. */
  readonly surroundings?: Surroundings;
}

/** Of an object with a kind; objects of other kinds are not looked into. */
export function objectProblems(object: KubeObject, options: CheckObjectOptions = {}): ObjectProblem[] {
  if (isPolicy(object) || isMesh(object)) return policyProblems(object, options);
  if (isOpener(object)) {
    const problems = metadataProblems(object, '', true);
    return problems.length > 0 ? problems : openerProblems(object);
  }
  const core = groupOf(object) === '';
  const isPod = core && object.kind === 'Pod';
  if (!isPod && !isWorkloadTemplate(object) && !(core && ['Namespace', 'Node'].includes(object.kind)))
    return [];
  const problems = metadataProblems(object, '', true);
  if (problems.length > 0) return problems;
  if (isPod) return podProblems(object, '');
  if (!isWorkloadTemplate(object)) return [];
  const path = templatePath(object.kind);
  let template: unknown = object;
  for (const key of path) template = isObject(template) ? template[key] : undefined;
  if (!isObject(template)) return [{ path: path.join('.'), message: 'expected the template of its pods' }];
  const prefix = `${path.join('.')}.`;
  return [...metadataProblems(template, prefix, false), ...podProblems(template, prefix)];
}

function policyProblems(object: KubeObject, options: CheckObjectOptions): ObjectProblem[] {
  const kind = findKind(servedAs(object), object.kind)?.kind;
  const unknown = kind ? unknownFields(kind, object).filter((path) => !path.startsWith('status')) : [];
  const mistyped = kind ? typeErrors(kind, object) : [];
  const shape = [
    ...metadataProblems(object, '', true),
    ...unknown.map((path) => ({
      path,
      message: `is no field of ${/^[AEIOU]/.test(object.kind) ? 'an' : 'a'} ${object.kind}`,
    })),
    ...mistyped.map(({ field, message }) => ({ path: field, message })),
  ];
  if (shape.length > 0 || options.lenient) return shape;
  const told = ({ path, message, absent }: ObjectProblem): ObjectProblem => ({
    path,
    message,
    ...(absent ? { absent } : {}),
  });
  if (isMesh(object)) return lowerMesh(object as unknown as MeshObject).problems.map(told);
  return lowerPolicies(object as unknown as PolicyObject, undefined, options.surroundings).flatMap(
    ({ problems }) => problems.map(told),
  );
}

/** Policies of a group or a version of long ago look like those of today, Calico's resources like their custom resources. */
function servedAs(object: KubeObject): string {
  if (isCalico(object)) return 'projectcalico.org/v3';
  if (isMesh(object)) return 'security.istio.io/v1';
  return object.kind === 'NetworkPolicy' ? 'networking.k8s.io/v1' : object.apiVersion;
}

function metadataProblems(owner: object, prefix: string, named: boolean): ObjectProblem[] {
  const { metadata } = owner as { metadata?: unknown };
  const path = `${prefix}metadata`;
  if (metadata === undefined || metadata === null)
    return named ? [{ path: `${path}.name`, message: 'is missing' }] : [];
  if (!isObject(metadata)) return [{ path, message: 'expected an object' }];
  const problems: ObjectProblem[] = [];
  const { name, namespace, labels } = metadata;
  if (named && (typeof name !== 'string' || name === ''))
    problems.push({ path: `${path}.name`, message: name === undefined ? 'is missing' : 'expected a name' });
  if (namespace !== undefined && namespace !== null && typeof namespace !== 'string')
    problems.push({ path: `${path}.namespace`, message: 'expected a name' });
  if (labels !== undefined && labels !== null) problems.push(...labelProblems(labels, `${path}.labels`));
  return problems;
}

function labelProblems(labels: unknown, path: string): ObjectProblem[] {
  if (!isObject(labels)) return [{ path, message: 'expected labels and their values' }];
  return Object.entries(labels)
    .filter(([, value]) => typeof value !== 'string')
    .map(([key, value]) => ({
      path: `${path}[${key}]`,
      message: `expected a text, not ${JSON.stringify(value)}; put the value in quotes`,
    }));
}

function podProblems(owner: object, prefix: string): ObjectProblem[] {
  const { spec } = owner as { spec?: unknown };
  if (!isObject(spec)) return [{ path: `${prefix}spec`, message: 'expected the containers of a pod' }];
  const problems: ObjectProblem[] = [];
  if (
    spec['hostNetwork'] !== undefined &&
    spec['hostNetwork'] !== null &&
    typeof spec['hostNetwork'] !== 'boolean'
  )
    problems.push({ path: `${prefix}spec.hostNetwork`, message: 'expected true or false' });
  for (const key of ['containers', 'initContainers']) {
    const list = spec[key] ?? [];
    const path = `${prefix}spec.${key}`;
    if (!Array.isArray(list)) problems.push({ path, message: 'expected a list' });
    else for (const [i, item] of list.entries()) problems.push(...containerProblems(item, `${path}[${i}]`));
  }
  return problems;
}

function containerProblems(container: unknown, path: string): ObjectProblem[] {
  if (!isObject(container)) return [{ path, message: 'expected a container' }];
  const ports = container['ports'] ?? [];
  if (!Array.isArray(ports)) return [{ path: `${path}.ports`, message: 'expected a list' }];
  return ports.flatMap((port: unknown, i) => portProblems(port, `${path}.ports[${i}]`));
}

function portProblems(port: unknown, path: string): ObjectProblem[] {
  if (!isObject(port)) return [{ path, message: 'expected a port' }];
  const { containerPort, name, protocol } = port;
  const problems: ObjectProblem[] = [];
  if (!Number.isInteger(containerPort) || Number(containerPort) < 1 || Number(containerPort) > 65535)
    problems.push({
      path: `${path}.containerPort`,
      message: `expected a port from 1 to 65535, not ${JSON.stringify(containerPort)}`,
    });
  if (name !== undefined && name !== null && typeof name !== 'string')
    problems.push({ path: `${path}.name`, message: 'expected a name' });
  if (protocol !== undefined && protocol !== null && !['TCP', 'UDP', 'SCTP'].includes(protocol as string))
    problems.push({
      path: `${path}.protocol`,
      message: `expected TCP, UDP or SCTP, not ${JSON.stringify(protocol)}`,
    });
  return problems;
}
