/**
 * The agent of a node: `agent.ts <data-dir> <node>`, started in the node's namespace. Read from top to bottom,
 * this is the order in which a node comes up; what stands in the kernel from an earlier run is taken over.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { LEASE, POD } from '../api/kinds.ts';
import { createEventRecorder } from '../client/events.ts';
import { createInformer } from '../client/informer.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { nodeLabels } from '../cluster/node-labels.ts';
import { clusterPaths, CRI_PODS } from '../cluster/paths.ts';
import { createConflist, HEDDLE_LIST } from '../cni/conflist.ts';
import { LINK_PREFIX } from '../cni/names.ts';
import { removeOrphans } from '../cni/orphans.ts';
import { bookWhatIsThere } from '../cni/strays.ts';
import { createHeldHostPorts } from '../cni/held-host-ports.ts';
import { createPlugin } from '../cni/plugin.ts';
import { serveCni } from '../cni/server.ts';
import { createFlowRecorder } from '../controllers/node/flows.ts';
import { createDatapathController } from '../controllers/node/datapath.ts';
import { exposeDatapath } from '../controllers/node/datapath-metrics.ts';
import { createHealthChecks } from '../controllers/node/health-checks.ts';
import { LEASE_LABEL, LEASE_NAMESPACE, runL2 } from '../controllers/node/l2.ts';
import { runNames } from '../controllers/node/names.ts';
import { createPodUseWatch } from '../controllers/node/pod-use.ts';
import { createPodController } from '../controllers/node/pods.ts';
import { runRegistration } from '../controllers/node/registration.ts';
import { createMovableBackend } from '../datapath/movable.ts';
import { createAnnouncer } from '../datapath/announcer.ts';
import { mapSizes } from '../datapath/ebpf/sizes.ts';
import { createPlan } from '../datapath/plan/plan.ts';
import { exposeDns } from '../dns/metrics.ts';
import { createNodeDns } from '../dns/node-dns.ts';
import { createRecords } from '../dns/records.ts';
import { createDnsServer } from '../dns/server.ts';
import { DEFAULT_IMAGE_DIR, openStore } from '../image/store.ts';
import { findCgroup2Mount } from '../kernel/cgroup.ts';
import { openCgroupSet } from '../kernel/cgroup-set.ts';
import { openPacketSocket } from '../kernel/packet-socket.ts';
import { connectTcpHere, listenTcp } from '../kernel/sockets.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { createHousekeeping } from '../lib/memory.ts';
import { createMetrics } from '../lib/metrics.ts';
import { nodeInfo } from '../lib/machine.ts';
import { serveSocket } from '../lib/socket-server.ts';
import { begun, runTasks, shutdownSignal } from '../lib/tasks.ts';
import { createFlowLog } from '../observe/flow-log.ts';
import { createCompiler } from '../policy/compile.ts';
import { watchNetwork } from '../podhost/network-watch.ts';
import { createPodHost } from '../podhost/pod-host.ts';
import { agentRoutes } from './agent-routes.ts';
import { createAgentBgp } from './bgp.ts';
import { createBackends, moveDatapath } from './backends.ts';
import { openDatapathFile } from './datapath-file.ts';
import { openGround } from './node-ground.ts';
import { agentInformers } from './agent-informers.ts';
import { openPodAddresses } from './pod-addresses.ts';
import { readEnv } from './env.ts';
import { nodeClient } from './node-client.ts';
import { openNodeRoom } from './node-room.ts';
import { openPathProofs } from './path-proofs.ts';
import { kernelTracking, readPodTraffic } from './pod-traffic.ts';

/** The link to the other nodes and the outside. */
const UPLINK = 'eth0';
/** Entries of the data path's tables. */
const MUCH = 10_000;
const BUILD = join(import.meta.dirname, '../../build');

const [dataDir, nodeName] = process.argv.slice(2);
if (!dataDir || !nodeName) {
  process.stderr.write('usage: agent.ts <data-dir> <node>\n');
  process.exit(2);
}
const env = readEnv();
const paths = clusterPaths(dataDir);
const nodePaths = paths.node(nodeName);
const config = JSON.parse(readFileSync(paths.config, 'utf8')) as ClusterConfig;
const self = config.nodes.find(({ name }) => name === nodeName);
if (!self) {
  process.stderr.write(`${paths.config} has no node ${nodeName}\n`);
  process.exit(2);
}
const log = createLog({ level: env.logLevel, fields: { process: 'agent', node: nodeName } });
const clock = systemClock;
const signal = shutdownSignal();
mkdirSync(nodePaths.state, { recursive: true, mode: 0o700 });
mkdirSync(dirname(nodePaths.agentSocket), { recursive: true, mode: 0o700 });

// The client, and one copy of each kind for all who need it.
const client = nodeClient(paths, config, nodeName);
const informers = agentInformers(client, log);
const ownPods = createInformer(client, POD, { log, fieldSelector: `spec.nodeName=${nodeName}` });
const leases = createInformer(client, LEASE, {
  log,
  namespace: LEASE_NAMESPACE,
  labelSelector: LEASE_LABEL,
});

const addresses = await openPodAddresses({
  client,
  config,
  self,
  paths,
  uplink: UPLINK,
  ...informers,
  ownPods,
  clock,
  log,
});
const { ipam, podPools, blockHolders } = addresses;

const records = createRecords({ domain: config.clusterDomain });
// They fill while the kernel judges the programs.
const copies = [
  ...[...Object.values(informers), ownPods, leases, podPools, blockHolders, ...addresses.reservations].map(
    (informer) => ({
      name: `informer of ${informer.kind.resource}`,
      run: (stop: AbortSignal) => informer.run(stop),
    }),
  ),
  { name: 'names', run: () => runNames({ ...informers, records }) },
].map(begun);

// The node's namespace, and the data path in it.
const { route, way, overlay } = openGround({
  config,
  self,
  paths: nodePaths,
  uplink: UPLINK,
  program: (routing) => datapath.setRouting(routing),
  pods: () => podHost.localPods(),
  log,
});
const backends = createBackends({
  route,
  paths: nodePaths,
  objectDir: join(BUILD, 'bpf'),
  mapSizes: mapSizes({ memory: totalmem(), nodes: config.nodes.length, share: config.mapMemory }),
  overlay,
  log,
});
const chosen = openDatapathFile(join(nodePaths.state, 'datapath.json'), config.datapath);
await backends.prepare(chosen.current());
const backend = createMovableBackend({
  prepare: backends.prepare,
  open: backends.open,
  initial: chosen.current(),
  used: chosen.used,
  takesOver: backends.takesOver,
  log,
});

// Pods: addresses, the CNI socket, and the host that runs the list.
for (const what of await bookWhatIsThere({ node: route, ipam, ...addresses.traces }))
  log.warn('booked what a pod has', { what });
const hostPorts = createHeldHostPorts(ipam.list());
const cni = await serveCni({
  socketPath: nodePaths.cniSocket,
  handlers: createPlugin({
    ipam,
    podWishes: addresses.podWishes,
    node: route,
    mtu: way.now,
    guard: (link) => backend.guard?.(link),
    hostPorts,
    log,
  }),
  log,
});
const pods = createPodController({
  client,
  pods: ownPods,
  services: informers.services,
  reconcile: (wanted) => podHost.reconcile(wanted),
});
const cgroupMount = findCgroup2Mount() ?? '';
const cgroups = openCgroupSet(cgroupMount, join(cgroupMount, nodePaths.cgroup, 'pods'));
const events = createEventRecorder(client, { component: 'heddle-agent', host: nodeName, log, clock });
const own = await openNodeRoom({ config, self, paths: nodePaths, events, clock, log });
const network = watchNetwork(
  createConflist({
    list: HEDDLE_LIST,
    path: [BUILD],
    cacheDir: join(nodePaths.state, 'cni'),
    env: { HEDDLE_CNI_SOCKET: nodePaths.cniSocket },
  }),
  { clock, onWell: () => podHost.retry() },
);
const podHost = createPodHost({
  nodeName,
  standInByDefault: config.standIn,
  allowHost: config.allowHost === true,
  runtimeByDefault: config.runtime,
  hostAddresses: self.addresses,
  node: own.state,
  paths: {
    netns: paths.netns,
    state: nodePaths.state,
    podLogs: nodePaths.podLogs,
    standInSocket: nodePaths.standInSocket,
  },
  conflist: network.conflist,
  dns: {
    nameservers: config.dnsAddresses,
    clusterDomain: config.clusterDomain,
    // Other servers of the machine are out of a node's reach; the cluster's asks them.
    node: { nameservers: config.dnsAddresses, search: [] },
  },
  processes: {
    program: join(BUILD, 'heddle-pause'),
    images: openStore(config.imageDir ?? DEFAULT_IMAGE_DIR),
    sockets: nodePaths.pauseSockets,
    seccomp: nodePaths.seccomp,
    cgroups,
    cri: {
      endpoint: config.criEndpoint,
      pods: CRI_PODS,
      socketPath: nodePaths.criSocket,
      mounts: nodePaths.criMounts,
      cluster: config.id,
      node: nodeName,
      cgroup: join(nodePaths.cgroup, 'pods'),
    },
    objects: pods,
    services: pods.servicesOf,
    event: events.event,
  },
  callbacks: {
    patchPodStatus: pods.patchPodStatus,
    deletePod: pods.deletePod,
    barrier: (pod, stop) => datapath.settled(pod.metadata.uid ?? '', stop),
    extraPorts: pods.targetPorts,
    removeOrphans: (known) =>
      removeOrphans({ node: route, ipam, known }).finally(() => hostPorts.settle(ipam)),
  },
  connectTcp: connectTcpHere,
  clock,
  log,
});

// What the objects say, into the data path; what its rules decide, into the flow log.
const metrics = createMetrics();
const datapathMetrics = exposeDatapath(metrics, {
  backend,
  state: () => datapath.state,
  rule: (number) => datapath.rule(number),
  podTraffic: () => readPodTraffic(podHost.localPods()),
  kernelTracking,
});
const podUse = createPodUseWatch({ backend, metrics, clock, log });
// The lists that an agent begins with, and what the kernel held before, are as large as what is kept of them.
const housekeeping = createHousekeeping({ enough: MUCH, quietMs: 1000 });
const plan = createPlan({ node: nodeName });
const datapath = createDatapathController({
  node: nodeName,
  informers: { ...informers, podPools, blockHolders },
  plan,
  backend,
  settings: {
    node: nodeName,
    nodeAddresses: self.addresses,
    nodeLocal: config.dnsAddresses,
    nodePodCidrs: self.podCidrs,
    podCidrs: config.podCidrs,
    serviceCidrs: config.serviceCidrs,
    underlayCidrs: config.underlayCidrs,
    controlAddresses: config.apiServer.addresses,
    podLinks: LINK_PREFIX,
    tunnelPort: config.vxlan.port,
    routing: way.routing(),
  },
  compile: createCompiler(),
  localPods: () => podHost.localPods(),
  hostPorts: hostPorts.pods,
  nodeLocal: config.dnsAddresses,
  clock,
  log,
  record(outcome) {
    datapathMetrics.record(outcome);
    if (outcome.step === 'prune') housekeeping.note(MUCH);
    if (outcome.step === 'apply') housekeeping.note(outcome.changes.length);
    if (
      outcome.step === 'prune' ||
      (outcome.step === 'apply' && outcome.changes.some(({ table }) => table === 'services'))
    )
      bgp.refresh();
  },
});
podHost.onLocalPodsChanged(datapath.podsChanged);
podHost.onLocalPodsChanged(way.podsChanged);
hostPorts.onChange(datapath.podsChanged);
const flowLog = createFlowLog({ node: nodeName });
const flows = createFlowRecorder({
  flowLog,
  rule: datapath.rule,
  lost: backends.lost,
  metrics,
});

backend.events((events) => flows.take(events));

// What balancers outside see: who answers for an address, and which node is worth sending to.
const uplink = route.link(UPLINK);
const announcer = uplink && createAnnouncer({ link: uplink, openSocket: openPacketSocket, clock });
const healthChecks = createHealthChecks({
  node: nodeName,
  ...informers,
  healthy: datapath.isReady,
  listen: (port) => listenTcp(undefined, '::', port),
  clock,
  log,
});

// What routers are told, and tell.
const bgp = createAgentBgp({
  client,
  node: nodeName,
  addresses: self.addresses,
  podCidrs: self.podCidrs,
  clusterCidrs: [...config.podCidrs, ...config.serviceCidrs, ...config.underlayCidrs],
  services: informers.services,
  plan: plan.state,
  ready: datapath.ready(),
  route,
  memoryPath: nodePaths.bgpMemory,
  metrics,
  clock,
  log,
  signal,
});

// Names.
const dns = createDnsServer({
  addresses: config.dnsAddresses,
  port: 53,
  handler: createNodeDns({
    records,
    addresses: config.dnsAddresses,
    ranges: [...config.serviceCidrs, ...config.podCidrs],
    log,
  }),
  log,
});
exposeDns(metrics, dns, records);

const pathProofs = openPathProofs({ config, self, route, state: plan.state, way, metrics, clock, log });

const server = await serveSocket({
  socketPath: nodePaths.agentSocket,
  ...agentRoutes({
    node: nodeName,
    podHost,
    datapath,
    backend,
    flowLog,
    metrics,
    podUse,
    paths: pathProofs.watch,
    ipam,
    addresses: addresses.routes,
    traces: addresses.traces,
    route,
    refreshMetrics: datapathMetrics.refresh,
    log,
    moveTo: moveDatapath(backend, chosen, log),
    bgp,
    way,
  }),
  log,
});
log.info('agent started', { pid: process.pid });

await runTasks(
  [
    { name: 'pod host', run: (stop) => podHost.run(stop) },
    ...copies,
    { name: 'dns', run: (stop) => dns.run(stop) },
    {
      name: 'data path',
      // Pods of an earlier run are known first: the kernel must not lose what is theirs.
      run: (stop) => podHost.restored().then(() => datapath.run(stop)),
    },
    { name: 'pods', run: (stop) => pods.run(stop) },
    { name: 'network of pods', run: (stop) => network.run(stop) },
    { name: 'what the machine has left', run: (stop) => own.pressure.run(stop) },
    { name: 'health checks', run: (stop) => healthChecks.run(stop) },
    { name: 'paths', run: (stop) => pathProofs.watch.run(stop) },
    ...addresses.tasks({ metrics, route, attachments: podHost.attachments }),
    { name: 'use by pods', run: (stop) => podUse.run(stop) },
    { name: 'BGP', run: (stop) => bgp.run(stop) },
    ...(announcer
      ? [
          {
            name: 'announced addresses',
            run: (stop: AbortSignal) =>
              runL2(
                {
                  client,
                  node: nodeName,
                  ...informers,
                  leases,
                  plan: plan.state,
                  announcer,
                  ready: datapath.ready(),
                  clock,
                  log,
                  metrics,
                },
                stop,
              ),
          },
        ]
      : []),
    {
      name: 'registration',
      run: (stop) =>
        runRegistration(
          {
            client,
            node: nodeName,
            addresses: self.addresses,
            labels: nodeLabels(self),
            info: nodeInfo(config.id, nodeName),
            room: own.room,
            conditions: () => [pathProofs.watch.condition(), ...own.pressure.conditions()],
            notReady: () => (datapath.isReady() ? network.problem() : 'the data path is not programmed yet'),
            clock,
            log,
          },
          stop,
        ),
    },
  ],
  { log, signal },
);
server.close();
server.closeAllConnections();
await cni.close();
client.close();
pathProofs.close();
announcer?.close();
backend.close();
// What the kernel was given stays: the data path outlives its agent.
process.exit(0);
