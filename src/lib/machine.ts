/** What this machine is, in the words that Kubernetes uses for it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { arch, release } from 'node:os';
import { VERSION } from './version.ts';

/** `amd64` for what Node calls x64. */
export const goArch = (): string => ({ x64: 'amd64', ia32: '386' })[arch() as string] ?? arch();

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
};

/** PRETTY_NAME of os-release(5). */
export const osImage = (): string =>
  /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readText('/etc/os-release'))?.[1] ?? 'Linux';

export interface NodeIdentity {
  readonly machineID: string;
  readonly systemUUID: string;
  readonly bootID: string;
}

/**
 * Of one of the nodes that share this machine: Kubernetes takes machineID for unique in a cluster. Derived from the
 * machine's own and the node's name, as machine-id(5) asks for, which wants its own kept to itself; the boot is the machine's.
 */
export function nodeIdentity(cluster: string, node: string): NodeIdentity {
  const machine = readText('/etc/machine-id') || readText('/var/lib/dbus/machine-id');
  const derived = (what: string) =>
    createHash('sha256')
      .update(JSON.stringify([machine, cluster, node, what]))
      .digest('hex')
      .slice(0, 32);
  const uuid = derived('system');
  return {
    machineID: derived('machine'),
    systemUUID: [8, 12, 16, 20, 32].map((end, i) => uuid.slice([0, 8, 12, 16, 20][i], end)).join('-'),
    bootID: readText('/proc/sys/kernel/random/boot_id'),
  };
}

export interface NodeInfo extends NodeIdentity {
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly architecture: string;
  /** Of Heddle. */
  readonly version: string;
}

/** What `kubectl get nodes -o wide` and `kubectl describe node` show of it. */
export const nodeInfo = (cluster: string, node: string): NodeInfo => ({
  kernelVersion: release(),
  osImage: osImage(),
  architecture: goArch(),
  version: VERSION,
  ...nodeIdentity(cluster, node),
});
