/** What Kubernetes fills into pods and pod templates. */
import type { IContainer } from 'kubernetes-models/v1/Container';
import type { IDownwardAPIVolumeFile } from 'kubernetes-models/v1/DownwardAPIVolumeFile';
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec';
import type { IProjectedVolumeSource } from 'kubernetes-models/v1/ProjectedVolumeSource';
import type { IProbe } from 'kubernetes-models/v1/Probe';
import type { IVolume } from 'kubernetes-models/v1/Volume';
import { quantityValue } from './quantity.ts';

/** 0644 */
const FILE_MODE = 420;
/** Seconds. */
const GRACE = 30;
const TOKEN_LIFETIME = 3600;

/** Changes `spec`. */
export function setPodSpecDefaults(spec: IPodSpec): void {
  spec.restartPolicy ??= 'Always';
  spec.terminationGracePeriodSeconds ??= GRACE;
  spec.dnsPolicy ??= 'ClusterFirst';
  spec.schedulerName ||= 'default-scheduler';
  spec.securityContext ??= {};
  // The old name of the field mirrors the new one.
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  for (const volume of spec.volumes ?? []) setVolumeDefaults(volume);
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
    setContainerDefaults(container, spec.hostNetwork ?? false);
  for (const container of spec.ephemeralContainers ?? []) {
    container.imagePullPolicy ??= pullPolicy(container.image);
    container.terminationMessagePath ??= '/dev/termination-log';
    container.terminationMessagePolicy ??= 'File';
    container.resources ??= {};
  }
}

function setContainerDefaults(container: IContainer, hostNetwork: boolean): void {
  container.resources ??= {};
  container.terminationMessagePath ??= '/dev/termination-log';
  container.terminationMessagePolicy ??= 'File';
  container.imagePullPolicy ??= pullPolicy(container.image);
  const { limits } = container.resources;
  if (limits) container.resources.requests = { ...limits, ...container.resources.requests };
  for (const port of container.ports ?? []) {
    port.protocol ??= 'TCP';
    if (hostNetwork) port.hostPort ??= port.containerPort;
  }
  for (const env of container.env ?? [])
    if (env.valueFrom?.fieldRef) env.valueFrom.fieldRef.apiVersion ??= 'v1';
  setHandlerDefaults(container);
}

function setHandlerDefaults(container: IContainer): void {
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe])
    if (probe) setProbeDefaults(probe);
  for (const hook of [container.lifecycle?.postStart, container.lifecycle?.preStop])
    if (hook?.httpGet) setHttpDefaults(hook.httpGet);
}

/** An image without a tag, or `latest`, is pulled each time; one with a digest or another tag is not. */
function pullPolicy(image: string | undefined): 'Always' | 'IfNotPresent' {
  const reference = image ?? '';
  if (reference.includes('@')) return 'IfNotPresent';
  const tag = /:([^/:]+)$/.exec(reference)?.[1] ?? 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function setProbeDefaults(probe: IProbe): void {
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  if (probe.httpGet) setHttpDefaults(probe.httpGet);
  if (probe.grpc) probe.grpc.service ??= '';
}

function setHttpDefaults(action: { path?: string; scheme?: 'HTTP' | 'HTTPS' }): void {
  action.path ||= '/';
  action.scheme ??= 'HTTP';
}

function setVolumeDefaults(volume: IVolume): void {
  if (!Object.keys(volume).some((key) => key !== 'name')) volume.emptyDir = {};
  if (volume.secret) volume.secret.defaultMode ??= FILE_MODE;
  if (volume.configMap) volume.configMap.defaultMode ??= FILE_MODE;
  if (volume.hostPath) volume.hostPath.type ??= '';
  if (volume.downwardAPI) {
    volume.downwardAPI.defaultMode ??= FILE_MODE;
    setFieldRefDefaults(volume.downwardAPI.items);
  }
  if (volume.projected) setProjectedDefaults(volume.projected);
}

function setFieldRefDefaults(items: readonly IDownwardAPIVolumeFile[] = []): void {
  for (const item of items) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
}

function setProjectedDefaults(projected: IProjectedVolumeSource): void {
  projected.defaultMode ??= FILE_MODE;
  for (const source of projected.sources ?? []) {
    if (source?.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= TOKEN_LIFETIME;
    setFieldRefDefaults(source?.downwardAPI?.items);
  }
}

/** How the node would treat the pod when memory is short, from its requests and limits of CPU and memory. */
export function qosClass(spec: IPodSpec): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const named = containers.some((c) =>
    ['cpu', 'memory'].some(
      (r) => c.resources?.limits?.[r] !== undefined || c.resources?.requests?.[r] !== undefined,
    ),
  );
  if (!named) return 'BestEffort';
  const equal = containers.every((c) =>
    ['cpu', 'memory'].every((r) => {
      const limit = c.resources?.limits?.[r];
      return (
        limit !== undefined && quantityValue(limit) === quantityValue(c.resources?.requests?.[r] ?? limit)
      );
    }),
  );
  return equal ? 'Guaranteed' : 'Burstable';
}
