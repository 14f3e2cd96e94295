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

export const hostnameOf = (pod: Pod): string => (pod.spec?.hostname ?? pod.metadata.name).slice(0, 63);

export function hostsOf(pod: Pod, addresses: readonly string[], clusterDomain: string): string {
  const name = hostnameOf(pod);
  const subdomain = pod.spec?.subdomain;
  const names = subdomain
    ? `${name}.${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain} ${name}`
    : name;
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
    [files.hostname, `${hostnameOf(pod)}\n`],
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
