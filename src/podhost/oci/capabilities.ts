/** Capabilities of a container. */
import { readFileSync } from 'node:fs';
import { CreateError } from '../process/environment.ts';
import type { Container } from '../process/types.ts';

/** By number (linux/capability.h). */
const ALL = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
] as const;

/** What container runtimes give without being asked. */
const DEFAULT = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
] as const;

/**
 * Those that mean something in a user namespace of the pod's own. The others are about the machine, or about the pod's
 * network, which is the machine's: a container that has them would not be able to do what it asked for.
 */
const ADDABLE = new Set<string>([...DEFAULT, 'DAC_READ_SEARCH', 'IPC_OWNER', 'LEASE', 'SYS_PTRACE']);

type Names = Container['securityContext'];

/** As container runtimes read a name: without its prefix, in upper case. */
export const plainCapability = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');

export function capabilityProblem(context: Names): string | undefined {
  if (context?.privileged) return undefined;
  const refused = (context?.capabilities?.add ?? []).filter(
    (name) => plainCapability(name) === 'ALL' || (isKnown(name) && !ADDABLE.has(plainCapability(name))),
  );
  return refused.length === 0 ? undefined : `capabilities.add: ${refused.join(', ')}`;
}

const isKnown = (name: string): boolean => (ALL as readonly string[]).includes(plainCapability(name));

/** Those that are added, as the kernel knows them. @throws CreateError as containerd says it */
export function addedCapabilities(context: Names): string[] {
  const added = (context?.capabilities?.add ?? []).map((name) => `CAP_${plainCapability(name)}`);
  const unknown = added.find((name) => !isKnown(name));
  if (unknown !== undefined) throw new CreateError(`unknown capability ${JSON.stringify(unknown)}`);
  return [...new Set(added)].toSorted();
}

/** All that we have, as a container can have no more: on some machines root lacks one. */
function ownCapabilities(): string[] {
  const [, text = '0'] = /^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const mask = BigInt(`0x${text}`);
  return ALL.filter((_, i) => (mask >> BigInt(i)) & 1n)
    .map((name) => `CAP_${name}`)
    .toSorted();
}

/** Sorted, as `CAP_CHOWN`. @throws CreateError */
export function capabilitiesOf(context: Names): string[] {
  if (context?.privileged) return ownCapabilities();
  const dropped = (context?.capabilities?.drop ?? []).map(plainCapability);
  const kept = dropped.includes('ALL') ? [] : DEFAULT.filter((name) => !dropped.includes(name));
  return [...new Set([...kept.map((name) => `CAP_${name}`), ...addedCapabilities(context)])].toSorted();
}

/** As in /proc/PID/status. */
export function capabilityMask(names: readonly string[]): string {
  let mask = 0n;
  for (const name of names) mask |= 1n << BigInt((ALL as readonly string[]).indexOf(plainCapability(name)));
  return mask.toString(16);
}
