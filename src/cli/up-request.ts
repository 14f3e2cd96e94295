/** From the flags of `up` to what shall be started; reads a data directory that was kept, changes nothing. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option } from 'commander';
import { parseThresholds, THRESHOLD_WORDS } from '../api/eviction.ts';
import { RUNTIMES } from '../api/runtime.ts';
import type { ClusterFile } from '../cluster/cluster-file.ts';
import type { ClusterConfig, NodeConfig } from '../cluster/config.ts';
import { checkDataDir } from '../cluster/data-dir.ts';
import { type ClusterPaths, clusterPaths, DEFAULT_DATA_DIR } from '../cluster/paths.ts';
import { parseNodeResources } from '../cluster/node-resources.ts';
import { API_PORT, type ClusterRequest, MAX_NODES, type NodeSpec, planCluster } from '../cluster/plan.ts';
import { freePort, isPortFree } from '../cluster/ports.ts';
import { type PublishedPort, parsePublishes } from '../cluster/publish.ts';
import { socketOf } from '../cri/endpoint.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { type Family, parseCidr } from '../lib/ip.ts';
import { chooseDatapath } from './choose-datapath.ts';
import { chooseRouting } from './choose-routing.ts';
import { duration, share, wholeNumber } from './flags.ts';

export interface UpFlags {
  dataDir: string;
  nodes?: string;
  file?: string[];
  config?: string;
  standIn?: boolean;
  allowHost?: boolean;
  runtime?: string;
  imageDir?: string;
  criEndpoint?: string;
  publish?: string[];
  detach?: boolean;
  apiPort?: string;
  ipFamily?: string;
  podCidr?: string;
  nodeMask?: string;
  serviceCidr?: string;
  underlayCidr?: string;
  clusterDomain?: string;
  datapath?: string;
  routing?: string;
  tunnel?: string;
  mapMemory?: string;
  evictionHard?: string;
  nodeResources?: string;
  keep?: boolean;
  wait: boolean;
  timeout: string;
}

export interface UpRequest {
  readonly paths: ClusterPaths;
  readonly config: ClusterConfig;
  readonly publish: readonly PublishedPort[];
  readonly files: readonly string[];
  readonly detach: boolean;
  readonly keep: boolean;
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
  /** The data directory has a store to continue from. */
  readonly continues: boolean;
  /** Where the data path is not the best there is: why. */
  readonly datapathWhy: string | undefined;
}

/** @throws HeddleError `DataDirUnsafe`, `DataDirForeign`, `BadFlag`, `BadCidr`, `RangesOverlap`, `RangeTooSmall`, `ClusterDiffers`, `BadClusterFile` */
export function upRequest(flags: UpFlags, file?: ClusterFile): UpRequest {
  const paths = clusterPaths(flags.dataDir);
  checkDataDir(paths);
  const kept = readConfig(paths);
  const apiPort = apiPortOf(flags, kept);
  const datapath = chooseDatapath(flags.datapath, kept?.datapath);
  const { families = [4, 6] } = ranges(flags, kept);
  const routing = chooseRouting(flags, kept?.routing, !families.includes(4));
  const config = planCluster({
    id: paths.id,
    ...nodesOf(flags, file, kept),
    apiPort,
    ...runtimes(flags, kept),
    allowHost: flags.allowHost === true,
    imageDir: flags.imageDir === undefined ? kept?.imageDir : resolve(flags.imageDir),
    criEndpoint: criEndpoint(flags.criEndpoint) ?? kept?.criEndpoint,
    datapath: datapath.name,
    routing,
    mapMemory: flags.mapMemory === undefined ? kept?.mapMemory : share('--map-memory', flags.mapMemory),
    ...roomOf(flags, kept),
    ...ranges(flags, kept),
  });
  if (kept) {
    refuseDifference(config, kept, paths);
    refuseOtherMask(config, kept, paths);
    refuseFewerNodes(config, kept, paths);
    refuseOtherNames(config, kept, paths);
  }
  return {
    paths,
    config,
    publish: parsePublishes(flags.publish ?? [], apiPort),
    files: flags.file ?? [],
    detach: flags.detach === true,
    keep: flags.keep === true,
    wait: flags.wait,
    timeout: duration('--timeout', flags.timeout),
    continues: kept !== undefined,
    datapathWhy: datapath.why,
  };
}

/** A cluster that was picked by name or folder does not fail over the port of the machine's default one. */
function apiPortOf({ apiPort, dataDir }: UpFlags, kept: ClusterConfig | undefined): number {
  if (apiPort === '0') return freePort();
  if (apiPort !== undefined) return wholeNumber('--api-port', apiPort, 0, 65_535);
  if (kept) return kept.apiServer.publishedPort;
  return dataDir === DEFAULT_DATA_DIR || isPortFree(API_PORT) ? API_PORT : freePort();
}

type Nodes = Pick<ClusterRequest, 'nodes' | 'named' | 'links' | 'seed' | 'mtu'>;

/** Names and places that are not said are as they were. */
function nodesOf(flags: UpFlags, file: ClusterFile | undefined, kept: ClusterConfig | undefined): Nodes {
  const asked = typeof file?.nodes === 'object' ? file.nodes.length : file?.nodes;
  const nodes =
    flags.nodes === undefined
      ? (asked ?? kept?.nodes.length ?? 2)
      : wholeNumber('--nodes', flags.nodes, 1, MAX_NODES);
  return {
    nodes,
    // Those that are left out are told of by their number.
    named: typeof file?.nodes === 'object' ? file.nodes : kept?.nodes.slice(0, nodes).map(specOf),
    links: file ? file.links : kept?.topology?.links,
    seed: file ? file.seed : kept?.topology?.seed,
    mtu: file ? file.mtu : kept?.underlayMtu,
  };
}

const specOf = ({ name, region, zone, rack, labels, resources }: NodeConfig): NodeSpec => ({
  name,
  ...(region === undefined ? {} : { region }),
  ...(zone === undefined ? {} : { zone }),
  ...(rack === undefined ? {} : { rack }),
  ...(labels === undefined ? {} : { labels }),
  ...(resources === undefined ? {} : { resources }),
});

/** What is not said is as it was. @throws HeddleError `BadFlag` */
function roomOf(
  { evictionHard, nodeResources }: UpFlags,
  kept: ClusterConfig | undefined,
): Pick<ClusterRequest, 'eviction' | 'nodeResources'> {
  const eviction = evictionHard === undefined ? kept?.eviction : parseThresholds(evictionHard);
  if (evictionHard !== undefined && eviction === undefined)
    throw new HeddleError('BadFlag', `--eviction-hard "${evictionHard}": expected ${THRESHOLD_WORDS}`);
  const resources = nodeResources === undefined ? kept?.nodeResources : parseNodeResources(nodeResources);
  if (typeof resources === 'string') throw new HeddleError('BadFlag', `--node-resources ${resources}`);
  return { eviction, nodeResources: resources };
}

/** What is not said is as it was. @throws HeddleError `BadFlag` */
function runtimes(
  flags: UpFlags,
  kept: ClusterConfig | undefined,
): Pick<ClusterRequest, 'standIn' | 'runtime'> {
  const runtime = RUNTIMES.find((one) => one === flags.runtime);
  if (flags.runtime !== undefined && runtime === undefined)
    throw new HeddleError('BadFlag', `--runtime "${flags.runtime}": expected ${RUNTIMES.join(', ')}`);
  if (flags.standIn && runtime !== undefined && runtime !== 'stand-in')
    throw new HeddleError('BadFlag', `--stand-in and --runtime ${runtime}: expected one of them`);
  if (flags.standIn || runtime !== undefined) return { standIn: flags.standIn === true, runtime };
  return { standIn: kept?.standIn ?? false, runtime: kept?.runtime };
}

/** @throws HeddleError `BadFlag` */
const criEndpoint = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : `unix://${socketOf(text)}`;

type Ranges = Pick<
  ClusterRequest,
  'families' | 'podCidr' | 'nodeMask' | 'serviceCidr' | 'underlayCidr' | 'clusterDomain'
>;

/** What is not said is as it was. */
const ranges = (flags: UpFlags, kept: ClusterConfig | undefined): Ranges => {
  const families = flags.ipFamily === undefined ? familiesOf(kept) : ipFamilies(flags.ipFamily);
  const had = String(families) === String(familiesOf(kept)) ? kept : undefined;
  return {
    families,
    podCidr: flags.podCidr ?? had?.podCidrs.join(','),
    nodeMask: flags.nodeMask ?? maskText(kept),
    serviceCidr: flags.serviceCidr ?? had?.serviceCidrs.join(','),
    underlayCidr: flags.underlayCidr ?? had?.underlayCidrs.join(','),
    clusterDomain: flags.clusterDomain ?? kept?.clusterDomain,
  };
};

const IP_FAMILIES: Readonly<Record<string, readonly Family[]>> = { ipv4: [4], ipv6: [6], dual: [4, 6] };

export const ipFamilyOption = (): Option =>
  new Option('--ip-family <family>', 'of all addresses: ipv4, ipv6 or dual (default: dual)');

function ipFamilies(text: string): readonly Family[] {
  const families = Object.hasOwn(IP_FAMILIES, text) ? IP_FAMILIES[text] : undefined;
  if (!families) throw new HeddleError('BadFlag', `--ip-family "${text}": expected ipv4, ipv6 or dual`);
  return families;
}

const maskText = (kept: ClusterConfig | undefined): string | undefined =>
  kept?.nodeMask && `${kept.nodeMask[4]},${kept.nodeMask[6]}`;

const familiesOf = (kept: ClusterConfig | undefined): readonly Family[] =>
  kept ? kept.podCidrs.map((text) => parseCidr(text).family) : [4, 6];

/** Objects in the store carry addresses of these ranges. */
function refuseDifference(config: ClusterConfig, kept: ClusterConfig, paths: ClusterPaths): void {
  for (const field of ['podCidrs', 'serviceCidrs', 'underlayCidrs', 'clusterDomain'] as const)
    if (String(config[field]) !== String(kept[field]))
      throw new HeddleError(
        'ClusterDiffers',
        `${paths.dataDir} holds a cluster whose ${field} are ${String(kept[field])}, not ${String(config[field])}`,
        { hint: `remove it first: heddle down --data-dir ${paths.dataDir}` },
      );
}

/** Objects in the store name their node. */
function refuseOtherNames({ nodes }: ClusterConfig, kept: ClusterConfig, paths: ClusterPaths): void {
  const index = kept.nodes.findIndex(({ name }, i) => nodes[i]?.name !== name);
  if (index < 0) return;
  throw new HeddleError(
    'ClusterDiffers',
    `${paths.dataDir} holds a cluster whose node ${index + 1} is ${kept.nodes[index]?.name}, not ${nodes[index]?.name}`,
    { hint: `nodes come at the end only; else remove it first: heddle down --data-dir ${paths.dataDir}` },
  );
}

/** Nodes have blocks of that length. */
function refuseOtherMask(config: ClusterConfig, kept: ClusterConfig, paths: ClusterPaths): void {
  const [now, before] = [config, kept].map((one) => maskText(one) ?? '24,64');
  if (now !== before)
    throw new HeddleError(
      'ClusterDiffers',
      `${paths.dataDir} holds a cluster whose nodes have blocks of --node-mask ${before}, not ${now}`,
      { hint: `remove it first: heddle down --data-dir ${paths.dataDir}` },
    );
}

/** Nodes that are gone would leave their pods behind. */
function refuseFewerNodes({ nodes }: ClusterConfig, kept: ClusterConfig, paths: ClusterPaths): void {
  if (nodes.length < kept.nodes.length)
    throw new HeddleError(
      'ClusterDiffers',
      `${paths.dataDir} holds a cluster of ${kept.nodes.length} nodes, not ${nodes.length}`,
      { hint: `it can grow; for a smaller one remove it first: heddle down --data-dir ${paths.dataDir}` },
    );
}

/** @throws HeddleError `BadClusterFile` */
export function readConfig(paths: ClusterPaths): ClusterConfig | undefined {
  try {
    return JSON.parse(readFileSync(paths.config, 'utf8')) as ClusterConfig;
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT' || errnoCode(cause) === 'ENOTDIR') return undefined;
    throw new HeddleError('BadClusterFile', `cannot read the settings of the cluster, ${paths.config}`, {
      hint:
        errnoCode(cause) === 'EACCES'
          ? 'it belongs to root'
          : `remove the cluster: heddle down --data-dir ${paths.dataDir}`,
      cause,
    });
  }
}
