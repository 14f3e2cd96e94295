/** The resolver settings of a pod, from its dnsPolicy and dnsConfig (Kubernetes: DNS for Services and Pods). */
import type { Pod } from '../api/types.ts';

export interface DnsSettings {
  /** Cluster DNS addresses, the preferred family first. */
  nameservers: readonly string[];
  clusterDomain: string;
  /** What `Default` takes over: the node's own settings. Default: none. */
  node?: { nameservers: readonly string[]; search: readonly string[] };
}

export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  /** As written in the file: `ndots:5`, `edns0`. */
  readonly options: readonly string[];
  /** Dots from which a name is tried as it stands first. */
  readonly ndots: number;
}

/** resolv.conf(5): the resolver reads three and ignores the rest. */
const MAX_NAMESERVERS = 3;
/** Kubernetes' limits for search lists. */
const MAX_SEARCHES = 32;
const MAX_SEARCH_LENGTH = 2048;

/** The policy's own part, to which dnsConfig adds. A pod of the node's network asks as its node does. */
function policyPart(pod: Pod, settings: DnsSettings): Pick<ResolvConf, 'nameservers' | 'search' | 'options'> {
  const { dnsPolicy = 'ClusterFirst', hostNetwork = false } = pod.spec ?? {};
  if (dnsPolicy === 'None') return { nameservers: [], search: [], options: [] };
  if (dnsPolicy === 'Default' || (dnsPolicy === 'ClusterFirst' && hostNetwork))
    return {
      nameservers: settings.node?.nameservers ?? [],
      search: settings.node?.search ?? [],
      options: [],
    };
  const { clusterDomain } = settings;
  const search = [`${pod.metadata.namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  return {
    nameservers: settings.nameservers,
    search: [...search, ...(settings.node?.search ?? [])],
    options: ['ndots:5'],
  };
}

/** Pure. dnsConfig's servers and searches come after the policy's, its options replace those of the same name. */
export function resolvConfOf(pod: Pod, settings: DnsSettings): ResolvConf {
  const base = policyPart(pod, settings);
  const { nameservers = [], searches = [], options = [] } = pod.spec?.dnsConfig ?? {};
  const merged = new Map(base.options.map((option) => [option.split(':')[0] ?? option, option]));
  for (const { name, value } of options) if (name) merged.set(name, value ? `${name}:${value}` : name);
  return {
    nameservers: unique([...base.nameservers, ...nameservers]).slice(0, MAX_NAMESERVERS),
    search: withinLimits(unique([...base.search, ...searches].map((name) => name.replace(/\.$/, '')))),
    options: [...merged.values()],
    ndots: Number(/^ndots:(\d+)$/.exec(merged.get('ndots') ?? '')?.[1] ?? 1),
  };
}

const unique = (list: readonly string[]): string[] => [...new Set(list)].filter((entry) => entry !== '');

function withinLimits(search: readonly string[]): string[] {
  const kept = search.slice(0, MAX_SEARCHES);
  while (kept.join(' ').length > MAX_SEARCH_LENGTH) kept.pop();
  return kept;
}

/** The text of the file; values that could break out of their line are left out. */
export function formatResolvConf({ nameservers, search, options }: ResolvConf): string {
  const word = (text: string) => /^[^\s#;]+$/.test(text);
  const lines = nameservers.filter(word).map((address) => `nameserver ${address}`);
  if (search.some(word)) lines.push(`search ${search.filter(word).join(' ')}`);
  if (options.some(word)) lines.push(`options ${options.filter(word).join(' ')}`);
  return lines.map((line) => `${line}\n`).join('');
}
