/** The files of /etc that a pod sees as its own. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../api/types.ts';
import type { ResolvConf } from './probe/resolve.ts';

export interface DnsSettings {
  /** Cluster DNS addresses, IPv4 first. */
  nameservers: readonly string[];
  clusterDomain: string;
}

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

/** dnsPolicy and dnsConfig as Kubernetes reads them. `Default` has no node file to take over here: no names. */
export function resolvOf(pod: Pod, dns: DnsSettings): ResolvConf & { options: string[] } {
  const { dnsPolicy = 'ClusterFirst', dnsConfig } = pod.spec ?? {};
  const cluster = dnsPolicy === 'ClusterFirst' || dnsPolicy === 'ClusterFirstWithHostNet';
  const suffix = `svc.${dns.clusterDomain}`;
  const search = cluster ? [`${pod.metadata.namespace}.${suffix}`, suffix, dns.clusterDomain] : [];
  const options = new Map<string, string | undefined>(cluster ? [['ndots', '5']] : []);
  for (const { name, value } of dnsConfig?.options ?? []) if (name) options.set(name, value);
  const unique = (list: readonly string[]) => [...new Set(list)];
  return {
    nameservers: unique([...(cluster ? dns.nameservers : []), ...(dnsConfig?.nameservers ?? [])]),
    search: unique([...search, ...(dnsConfig?.searches ?? [])]),
    ndots: Number(options.get('ndots') ?? 1),
    options: [...options].map(([name, value]) => (value === undefined ? name : `${name}:${value}`)),
  };
}

export function formatResolvConf(conf: ReturnType<typeof resolvOf>): string {
  const lines = conf.nameservers.map((address) => `nameserver ${address}`);
  if (conf.search.length > 0) lines.push(`search ${conf.search.join(' ')}`);
  if (conf.options.length > 0) lines.push(`options ${conf.options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

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
    [files.resolvConf, formatResolvConf(resolvOf(pod, dns))],
    [files.hosts, hostsOf(pod, addresses, dns.clusterDomain)],
    [files.hostname, `${hostnameOf(pod)}\n`],
    [
      files.passwd,
      `root:x:0:0:root:/root:/bin/sh\npod:x:${userId}:${userId}:pod:/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n`,
    ],
    [files.group, `root:x:0:\npod:x:${userId}:\nnogroup:x:65534:\n`],
  ];
  await Promise.all(contents.map(([path, text]) => writeFile(path, text, { mode: 0o644 })));
}

export const removePodFiles = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });
