/** Containers: ports, environment, probes, mounts, resources. */
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IContainerPort } from 'kubernetes-models/v1/ContainerPort';
import type { IEnvVar } from 'kubernetes-models/v1/EnvVar';
import type { IResourceRequirements } from 'kubernetes-models/v1/ResourceRequirements';
import { tryParseAddress } from '../lib/ip.ts';
import { duplicate, forbidden, formatted, invalid, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Label, envName, portName, portNumber, qualifiedName } from './formats.ts';
import { validateHook, validateProbe } from './probe-validation.ts';
import { QUANTITY_WORDS, quantityValue } from './quantity.ts';

export interface ContainerContext {
  readonly volumes: ReadonlySet<string>;
  readonly hostNetwork: boolean;
  readonly init: boolean;
}

export function* validateContainer(container: IContainer, path: string, context: ContainerContext): Problems {
  if (!container.name) yield required(`${path}.name`);
  else yield* formatted(`${path}.name`, container.name, dns1123Label);
  if (!container.image) yield required(`${path}.image`);
  else if (container.image !== container.image.trim())
    yield invalid(`${path}.image`, container.image, 'must not have leading or trailing whitespace');
  yield* oneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, ['Always', 'IfNotPresent', 'Never']);
  yield* oneOf(`${path}.terminationMessagePolicy`, container.terminationMessagePolicy, [
    'FallbackToLogsOnError',
    'File',
  ]);
  yield* validatePorts(container.ports ?? [], `${path}.ports`, context);
  for (const [i, env] of (container.env ?? []).entries()) yield* validateEnv(env, `${path}.env[${i}]`);
  yield* validateMounts(container, path, context);
  yield* validateResources(container.resources, `${path}.resources`);
  yield* validateProbes(container, path, context);
}

function* validateProbes(container: IContainer, path: string, context: ContainerContext): Problems {
  const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const;
  const sidecar = container.restartPolicy === 'Always';
  if (context.init && !sidecar) {
    const words = 'may not be set for init containers without restartPolicy=Always';
    for (const name of probes) if (container[name]) yield forbidden(`${path}.${name}`, words);
    if (container.lifecycle) yield forbidden(`${path}.lifecycle`, words);
    return;
  }
  for (const name of probes) {
    const probe = container[name];
    if (!probe) continue;
    yield* validateProbe(probe, `${path}.${name}`);
    if (name !== 'readinessProbe' && probe.successThreshold !== undefined && probe.successThreshold !== 1)
      yield invalid(`${path}.${name}.successThreshold`, probe.successThreshold, 'must be 1');
  }
  for (const name of ['postStart', 'preStop'] as const) {
    const hook = container.lifecycle?.[name];
    if (hook) yield* validateHook(hook, `${path}.lifecycle.${name}`);
  }
}

function* validatePorts(ports: readonly IContainerPort[], path: string, context: ContainerContext): Problems {
  const names = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `${path}[${i}]`;
    if (port.name) {
      yield* formatted(`${at}.name`, port.name, portName);
      if (names.has(port.name)) yield duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    if (!port.containerPort) yield required(`${at}.containerPort`);
    else
      for (const words of portNumber(port.containerPort))
        yield invalid(`${at}.containerPort`, port.containerPort, words);
    if (port.hostPort)
      for (const words of portNumber(port.hostPort)) yield invalid(`${at}.hostPort`, port.hostPort, words);
    if (context.hostNetwork && port.hostPort !== port.containerPort)
      yield invalid(`${at}.hostPort`, port.hostPort, 'must match `containerPort` when `hostNetwork` is true');
    if (port.hostIP && !tryParseAddress(port.hostIP))
      yield invalid(
        `${at}.hostIP`,
        port.hostIP,
        'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      );
    yield* oneOf(`${at}.protocol`, port.protocol, ['TCP', 'UDP', 'SCTP']);
  }
}

function* validateEnv(env: IEnvVar, path: string): Problems {
  if (!env.name) yield required(`${path}.name`);
  else yield* formatted(`${path}.name`, env.name, envName);
  if (!env.valueFrom) return;
  const sources = Object.values(env.valueFrom).filter((source) => source !== undefined && source !== null);
  if (sources.length === 0)
    yield invalid(
      `${path}.valueFrom`,
      '',
      'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
    );
  if (sources.length > 1)
    yield invalid(`${path}.valueFrom`, '', 'may not have more than one field specified at a time');
  if (env.value) yield invalid(`${path}.valueFrom`, '', 'may not be specified when `value` is not empty');
  const { configMapKeyRef, secretKeyRef, fieldRef } = env.valueFrom;
  if (configMapKeyRef && !configMapKeyRef.key) yield required(`${path}.valueFrom.configMapKeyRef.key`);
  if (secretKeyRef && !secretKeyRef.key) yield required(`${path}.valueFrom.secretKeyRef.key`);
  if (fieldRef && !fieldRef.fieldPath) yield required(`${path}.valueFrom.fieldRef.fieldPath`);
}

function* validateMounts(container: IContainer, path: string, context: ContainerContext): Problems {
  const places = new Set<string>();
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}.volumeMounts[${i}]`;
    if (!mount.name) yield required(`${at}.name`);
    else if (!context.volumes.has(mount.name))
      yield {
        type: 'FieldValueInvalid',
        field: `${at}.name`,
        message: `Not found: ${JSON.stringify(mount.name)}`,
        value: mount.name,
      };
    if (!mount.mountPath) yield required(`${at}.mountPath`);
    else if (places.has(mount.mountPath)) yield invalid(`${at}.mountPath`, mount.mountPath, 'must be unique');
    places.add(mount.mountPath);
    for (const key of ['subPath', 'subPathExpr'] as const) {
      const inner = mount[key];
      if (inner?.startsWith('/')) yield invalid(`${at}.${key}`, inner, 'must be a relative path');
      if (inner?.split('/').includes('..')) yield invalid(`${at}.${key}`, inner, "must not contain '..'");
    }
    if (mount.subPath && mount.subPathExpr)
      yield invalid(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive');
  }
}

function* validateResources(resources: IResourceRequirements | undefined, path: string): Problems {
  const { limits = {}, requests = {} } = resources ?? {};
  for (const [side, list] of [
    ['limits', limits],
    ['requests', requests],
  ] as const)
    for (const [name, quantity] of Object.entries(list)) {
      const at = `${path}.${side}[${name}]`;
      yield* formatted(`${path}.${side}`, name, qualifiedName);
      const value = quantityValue(quantity);
      if (value === undefined) yield invalid(at, quantity, QUANTITY_WORDS);
      else if (value < 0) yield invalid(at, quantity, 'must be greater than or equal to 0');
    }
  for (const [name, request] of Object.entries(requests)) {
    const [least, most] = [
      quantityValue(request),
      quantityValue(Object.hasOwn(limits, name) ? (limits[name] ?? '') : ''),
    ];
    if (least !== undefined && most !== undefined && least > most)
      yield invalid(
        `${path}.requests`,
        String(request),
        `must be less than or equal to ${name} limit of ${limits[name]}`,
      );
  }
}
