/** `heddle up`: checks everything, starts the supervisor, applies manifests, waits, and holds the cluster. */
import type { Command } from 'commander';
import { HeddleError } from '../lib/errors.ts';
import { datapathOption } from './choose-datapath.ts';
import { routingOption, tunnelOption } from './choose-routing.ts';
import type { CliDeps } from './deps.ts';
import { collect, requireRoot, withDataDir } from './flags.ts';
import { onInterrupt } from './interrupt.ts';
import { startOwn } from './own-cluster.ts';
import { createProgress } from './progress.ts';
import { holdInForeground } from './up-hold.ts';
import type { ClusterFile } from '../cluster/cluster-file.ts';
import { checkRuntimes, loadManifests, type Manifests, together } from './up-manifests.ts';
import { ipFamilyOption, readConfig, type UpFlags, type UpRequest, upRequest } from './up-request.ts';
import { applyToRunning, runningSupervisor } from './up-running.ts';
import { settle } from './up-settle.ts';

const examples = `
Examples:
  heddle up                                   two nodes, until Ctrl-C
  heddle up -f shop/ --stand-in               with the manifests of a folder, without their images
  heddle up --nodes 5 --detach                five nodes, in the background
  heddle up --publish shop/frontend:80:8080   the service answers on 127.0.0.1:8080
  heddle up --cluster b                       a second cluster beside the first
  heddle up -f cluster.yaml                   nodes in zones, with links between them (docs/cluster-file.md)

Everything is checked before anything is made. Ctrl-C takes the cluster down again; a second one by force.`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('up').description('start a local cluster'))
    .option('--nodes <n>', 'number of nodes, 1 to 250 (default: 2)')
    .option('-f, --file <path>', 'apply manifests: a file or a folder (repeatable)', collect)
    .option('--config <file>', 'the cluster itself, as a file (docs/cluster-file.md); also found among -f')
    .option('--stand-in', 'run pods as stand-ins that need no images')
    .option(
      '--runtime <name>',
      'of pods that ask for none: stand-in, process, oci (imported images) or cri (containerd)',
    )
    .option(
      '--allow-host',
      'let pods have files of this machine (hostPath) and be privileged; said at each start (default: refused)',
    )
    .option('--image-dir <dir>', 'where "heddle image" keeps images (default: /var/lib/heddle/images)')
    .option(
      '--cri-endpoint <uri>',
      'of the container runtime for pods of runtime cri (default: unix:///run/containerd/containerd.sock)',
    )
    .option('--publish <svc:port[:hostport]>', 'open a service port on 127.0.0.1 (repeatable)', collect)
    .option('--detach', 'return when the cluster is Ready and leave it running')
    .option(
      '--api-port <port>',
      'of the API server on 127.0.0.1; 0 takes a free one (default: 6443; of a cluster with a name or directory of its own, a free one where 6443 is taken)',
    )
    .addOption(ipFamilyOption())
    .option('--pod-cidr <ranges>', 'IPv4 and IPv6, with a comma (default: 10.244.0.0/16,fd00:10:244::/48)')
    .option(
      '--node-mask <lengths>',
      'prefix lengths of the blocks that nodes get of the pod ranges, as they need them (default: 24,64)',
    )
    .option('--service-cidr <ranges>', '(default: 10.96.0.0/16,fd00:10:96::/112)')
    .option(
      '--underlay-cidr <ranges>',
      'of nodes and control plane (default: 10.240.0.0/24,fd00:10:240::/64)',
    )
    .option('--cluster-domain <name>', 'suffix of service names (default: cluster.local)')
    .addOption(datapathOption())
    .addOption(routingOption())
    .addOption(tunnelOption())
    .option(
      '--map-memory <share>',
      'of the machine’s memory, for what the eBPF tables of all nodes learn (default: 0.25%)',
    )
    .option(
      '--node-resources <list>',
      'what every node has, such as cpu=8,memory=32Gi, in place of what the machine has; stand-ins then take of it what they request',
    )
    .option(
      '--eviction-hard <list>',
      'when nodes take no new pods, as a kubelet has it (default: memory.available<100Mi, 1Gi or 10% of disk, 1% of inodes)',
    )
    .option('--keep', 'keep the data directory when the cluster goes down')
    .option('--no-wait', 'do not wait until the pods are Ready')
    .option('--timeout <time>', 'for nodes and pods to become Ready', '120s')
    .addHelpText('after', examples)
    .action((flags: UpFlags, command: Command) => up(flags, command, deps));
}

async function up(given: UpFlags, command: Command, deps: CliDeps): Promise<void> {
  requireRoot(deps.isRoot, 'starting a cluster');
  const { request, manifests, clusterFile } = await read(given, command, deps);
  const running = await runningSupervisor(request.paths);
  // A cluster that runs keeps the runtime it was started with.
  checkRuntimes(manifests, (running && readConfig(request.paths)) ?? request.config);
  if (running) return applyToRunning(running, { request, manifests, clusterFile }, deps);
  const interrupt = onInterrupt();
  const progress = createProgress(deps);
  const own = { request, interrupt, progress, deps };
  try {
    const cluster = await startOwn(own);
    const { startedAt } = cluster;
    const failure = await settle({
      request,
      manifests,
      progress,
      deps,
      signal: interrupt.signal,
      since: startedAt,
    });
    if (request.detach && !interrupt.signal.aborted) {
      cluster.detach();
      if (failure) throw failure;
    } else await holdInForeground(cluster, failure, own);
  } catch (error) {
    progress.fail();
    throw error;
  } finally {
    interrupt.dispose();
  }
}

interface Read {
  readonly request: UpRequest;
  readonly manifests: Manifests;
  readonly clusterFile: ClusterFile | undefined;
}

/** Flags alone are read without YAML. */
async function read(given: UpFlags, command: Command, deps: CliDeps): Promise<Read> {
  const files = [...(given.file ?? []), ...(given.config === undefined ? [] : [given.config])];
  if (files.length === 0)
    return { request: upRequest(given), manifests: await loadManifests([], deps), clusterFile: undefined };
  const { besides, clusterFileOf, inClusterFile, withClusterFile } = await import('./up-cluster-file.ts');
  const manifests = await loadManifests(files, deps, given.runtime);
  const clusterFile = clusterFileOf(manifests.clusters, command);
  if (given.config !== undefined && !clusterFile)
    throw new HeddleError(
      'BadManifest',
      `--config ${given.config}: expected an object of kind Cluster in it`,
    );
  const flags = withClusterFile(given, clusterFile, command);
  const request = inClusterFile(clusterFile, () => upRequest(flags, clusterFile));
  const more = clusterFile?.manifests.map((path) => besides(clusterFile, path)) ?? [];
  return {
    request,
    manifests: together(manifests, await loadManifests(more, deps, given.runtime)),
    clusterFile,
  };
}
