/** The files of /etc that a pod sees as its own. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../api/types.ts';
import { type DnsSettings, formatResolvConf, resolvConfOf } from '../dns/resolv-conf.ts';
import { replaceFile } from '../lib/files.ts';

export interface PodFiles {
  resolvConf: string;
  hosts: string;
  hostname: string;
  passwd: string;
  group: string;
}

export const podFiles = (folder: string): PodFiles => ({
  resolvConf: join(folder, 'resolv.conf'),
  hosts: join(folder, 'hosts'),
  hostname: join(folder, 'hostname'),
  passwd: join(folder, 'passwd'),
  group: join(folder, 'group'),
});

/** A label, as a kubelet cuts it; on the node's network the node's own name. */
export const hostnameOf = ({ metadata, spec }: Pod): string =>
  ((spec?.hostNetwork ? spec.nodeName : spec?.hostname) ?? metadata.name).slice(0, 63).replace(/[-.]+$/, '');

/** Bytes of a host name for the kernel. */
const MAX_NODENAME = 64;

/** With its domain where the pod asks for it. @throws Error when the kernel has no room for that */
export function nodenameOf(pod: Pod, clusterDomain: string): string {
  const fqdn = fqdnOf(pod, clusterDomain);
  if (!pod.spec?.setHostnameAsFQDN || fqdn === undefined) return hostnameOf(pod);
  if (fqdn.length <= MAX_NODENAME) return fqdn;
  throw new Error(
    `Failed to construct FQDN from Pod hostname and cluster domain, FQDN ${fqdn} is too long (${MAX_NODENAME} characters is the max, ${fqdn.length} characters requested)`,
  );
}

const fqdnOf = (pod: Pod, clusterDomain: string): string | undefined =>
  pod.spec?.subdomain && !pod.spec.hostNetwork
    ? `${hostnameOf(pod)}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`
    : undefined;

export function hostsOf(pod: Pod, addresses: readonly string[], clusterDomain: string): string {
  const name = hostnameOf(pod);
  const fqdn = fqdnOf(pod, clusterDomain);
  const names = fqdn ? `${fqdn} ${name}` : name;
  const lines = [
    '127.0.0.1 localhost',
    '::1 localhost ip6-localhost ip6-loopback',
    ...addresses.map((address) => `${address} ${names}`),
    ...(pod.spec?.hostAliases ?? []).map(({ ip, hostnames }) => `${ip} ${(hostnames ?? []).join(' ')}`),
  ];
  return `${lines.join('\n')}\n`;
}

export async function writePodFiles(
  folder: string,
  pod: Pod,
  addresses: readonly string[],
  dns: DnsSettings,
  userId: number,
): Promise<void> {
  const files = podFiles(folder);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const contents: [string, string][] = [
    [files.resolvConf, formatResolvConf(resolvConfOf(pod, dns))],
    [files.hosts, hostsOf(pod, addresses, dns.clusterDomain)],
    [files.hostname, `${nodenameOf(pod, dns.clusterDomain)}\n`],
    [
      files.passwd,
      `root:x:0:0:root:/root:/bin/sh\npod:x:${userId}:${userId}:pod:/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
    ],
    [files.group, `root:x:0:\npod:x:${userId}:\nnogroup:x:65534:\n`],
  ];
  // Read by the pod's own user, whatever the agent's umask.
  const readable = { mode: 0o644, synced: false };
  await Promise.all(contents.map(([path, text]) => replaceFile(path, text, readable)));
}
