/** Who a container's program is: the ids that its security context asks for, and those that the kernel knows it by. */
import { createHash } from 'node:crypto';
import type { Pod } from '../../api/types.ts';
import { addedCapabilities, capabilityMask } from '../oci/capabilities.ts';
import { isUnconfined } from '../seccomp/wanted.ts';
import { podUserId } from '../user-id.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];

export interface IdPair {
  /** As the container sees it. */
  inside: number;
  /** As the host's files and kernel know it; of this pod alone. */
  outside: number;
}

export interface Identity {
  user: IdPair;
  group: IdPair;
  groups: IdPair[];
  /** Without a filter of system calls. */
  unconfined: boolean;
  /** That are kept, as `CAP_CHOWN`; of a user namespace of the container's own. */
  capabilities: string[];
}

const FIRST = 0x4000_0000;
const MASK = 0x1fff_ffff;

/** The pod's own id for what it calls `id`; its default user keeps its number. */
export function outsideId(uid: string, id: number): number {
  if (id === podUserId(uid)) return id;
  return FIRST + (createHash('sha256').update(`${uid}/${id}`).digest().readUInt32BE(0) & MASK);
}

export function identityOf(pod: Pod, container: Container): Identity {
  const uid = pod.metadata.uid ?? '';
  const all = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const pair = (inside: number): IdPair => ({ inside, outside: outsideId(uid, inside) });
  const user = own.runAsUser ?? all.runAsUser ?? podUserId(uid);
  const group = own.runAsGroup ?? all.runAsGroup ?? podUserId(uid);
  const more = new Set([
    ...(all.fsGroup === undefined ? [] : [all.fsGroup]),
    ...(all.supplementalGroups ?? []),
  ]);
  more.delete(group);
  return {
    user: pair(user),
    group: pair(group),
    groups: [...more].map(pair),
    unconfined: isUnconfined(pod, container),
    capabilities: addedCapabilities(own),
  };
}

/** For `heddle-pause inside` and `enter`. */
export function identityArgs({ user, group, groups, unconfined, capabilities }: Identity): string[] {
  const text = ({ inside, outside }: IdPair) => `${inside}:${outside}`;
  return [
    '--user',
    text(user),
    '--group',
    text(group),
    ...(groups.length > 0 ? ['--groups', groups.map(text).join(',')] : []),
    ...(unconfined ? ['--unconfined'] : []),
    ...(capabilities.length > 0 ? ['--capabilities', capabilityMask(capabilities)] : []),
  ];
}

/** Why the container must not run as who it would be; the words are those of a kubelet. */
export function identityProblem(pod: Pod, container: Container): string | undefined {
  const mustNot = container.securityContext?.runAsNonRoot ?? pod.spec?.securityContext?.runAsNonRoot ?? false;
  if (!mustNot || identityOf(pod, container).user.inside !== 0) return undefined;
  const { name, namespace, uid } = pod.metadata;
  return `container's runAsUser breaks non-root policy (pod: "${name}_${namespace}(${uid})", container: ${container.name})`;
}
