/**
 * An agent without a cluster: it serves CNI to whatever runs containers on this machine, in the network namespace it
 * is started in. Read from top to bottom, this is the order in which it comes up; what stands in the kernel from an
 * earlier run is taken over, and stays when the agent ends, so that containers go on without it.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exposeDns } from '../../dns/metrics.ts';
import { createIpam } from '../../ipam/ipam.ts';
import { openConntrack } from '../../kernel/conntrack.ts';
import { currentNetns } from '../../kernel/netns.ts';
import { openNft } from '../../kernel/nft.ts';
import { openRoute, type Route } from '../../kernel/route.ts';
import { run } from '../../kernel/spawn.ts';
import { writeSysctl } from '../../kernel/sysctl.ts';
import { errorText, HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { aborted } from '../../lib/signals.ts';
import { installPlugin } from '../install.ts';
import { createDhcp } from '../leases/dhcp/leases.ts';
import { createTuning } from '../meta/tuning.ts';
import { createPlugin } from '../plugin.ts';
import { recover } from '../recover.ts';
import { serveCni } from '../server.ts';
import { holdLock, holdNetwork } from './lock.ts';
import type { StandaloneConfig } from './config.ts';
import { createFirewall } from './firewall.ts';
import { dnsAddresses, openAgentDns } from './dns.ts';
import { enableForwarding, notForwarded } from './forwarding.ts';
import { createHostPorts } from './host-ports.ts';
import { createLinkRules } from './link-rules.ts';
import { serveMetrics, socketHttp } from './http.ts';
import { createAgentMetrics } from './metrics.ts';
import { rebuildBook } from './rebuild.ts';
import { statusOf } from './status.ts';
import { tableCommands } from './table.ts';

export interface StandaloneDeps {
  config: StandaloneConfig;
  /** The executable that runtimes call. */
  pluginFile: string;
  signal: AbortSignal;
  log: Log;
}

/** Resolves after `signal`. @throws HeddleError `AgentBusy`, `MetricsPort`, `NodeAddressMissing` and those of kernel/, ipam, install */
export async function runStandalone({ config, pluginFile, signal, log }: StandaloneDeps): Promise<void> {
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(config.socket), { recursive: true, mode: 0o700 });
  const locks = [holdLock(join(config.stateDir, 'agent.lock'), log), holdNetwork()];
  const ns = currentNetns();
  const node = openRoute(ns);
  const nft = openNft(ns);
  const conntrack = openConntrack(ns);
  const sources = config.nodeAddresses;
  const families = familiesOf(config.podRanges);

  checkNodeAddresses(node, sources);
  enableForwarding(families, { ns, links: node.links().map(({ name }) => name), log });
  nft.run(tableCommands({ ...config, dnsAddresses: dnsAddresses(config) }));
  const book = join(config.stateDir, 'ipam.json');
  const ipam = await createIpam({ cidrs: config.podRanges, reserved: config.reserved, path: book, log });
  // One that is damaged has been set aside.
  const isLost = !existsSync(book);
  const hostPorts = createHostPorts({
    nft,
    conntrack,
    acceptLoopback: (address) => acceptLoopback(node, address),
  });
  const dhcp = await createDhcp({ path: join(config.stateDir, 'dhcp.json'), log });
  const rules = createLinkRules(nft);
  const mains = {
    dhcp,
    rules,
    forward: (addresses: readonly string[]) =>
      enableForwarding(familiesOf(addresses), { ns, links: node.links().map(({ name }) => name), log }),
  };
  const metas = {
    tuning: createTuning(),
    firewall: createFirewall({
      nft,
      run: (argv, input) => run(argv, { netns: ns, ...(input === undefined ? {} : { input }) }),
    }),
  };
  const repairs = [
    ...(await rebuildBook({ node, ipam, hostPorts, rules, dhcp, log }, isLost)),
    ...(await recover({ node, ipam, hostPorts, sources, mains, metas })),
  ];
  for (const what of repairs) log.warn('put right after an earlier run', { what });

  const dns = openAgentDns({ config, node, ipam, log });
  const startedAt = performance.now();
  const limits = (): string[] =>
    notForwarded(families, ns).map((key) => `${key} is 0: packets of containers are not forwarded`);
  const status = () => statusOf({ config, ipam, answers: counted.answers, limits, repairs, startedAt });
  const counted = createAgentMetrics(status, nft);
  const { metrics } = counted;
  if (dns) exposeDns(metrics, dns.server);
  const further = config.metrics ? await serveMetrics(config.metrics, { metrics, log }) : undefined;
  const server = await serveCni({
    socketPath: config.socket,
    http: socketHttp({ status, metrics, log }),
    onAnswer: counted.answered,
    handlers: createPlugin({
      ipam,
      node,
      mtu: config.mtu,
      hostPorts,
      mains,
      metas,
      sources,
      limits,
      ...(dns ? { dns: dns.own } : {}),
      log,
    }),
    log,
  });
  if (config.install)
    await installPlugin({ ...config.install, pluginFile, network: config.name, socket: config.socket });
  log.info('serving CNI', { socket: config.socket, ranges: config.podRanges.join(', '), pid: process.pid });

  const answering = dns?.server
    .run(signal)
    .catch((error: unknown) => log.error('names are not answered any more', { error: errorText(error) }));
  await aborted(signal);
  await answering;
  dns?.close();
  await server.close();
  await further?.close();
  await dhcp.close();
  conntrack.close();
  nft.close();
  node.close();
  for (const lock of locks) lock.release();
}

const familiesOf = (texts: readonly string[]): Set<4 | 6> =>
  new Set(texts.map((text) => (text.includes(':') ? 6 : 4)));

/** Routes with a source that the machine does not have are refused by the kernel, one container at a time. */
function checkNodeAddresses(node: Route, addresses: readonly string[]): void {
  const there = node.addresses().map(({ address }) => address.split('/')[0] ?? '');
  const missing = addresses.find((address) => !there.includes(address));
  if (missing === undefined) return;
  throw new HeddleError(
    'NodeAddressMissing',
    `nodeAddresses has ${missing}, which no link of this machine has`,
    {
      hint: `it has ${there.join(', ') || 'none'}`,
    },
  );
}

/** A connection that this machine made to 127.0.0.1 leaves it by the link to the container. */
function acceptLoopback(node: Route, address: string): void {
  const way = node.routeTo(address);
  const link = node.links().find(({ index }) => index === way?.dev);
  if (link) writeSysctl(currentNetns(), `net/ipv4/conf/${link.name}/route_localnet`, 1);
}
