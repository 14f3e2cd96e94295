/** Everything that can be known to be wrong before a cluster is started. Makes nothing. */
import { checkPortFree } from '../cluster/ports.ts';
import type { DatapathName } from '../cluster/config.ts';
import { missingBpf, probeBpf } from '../kernel/bpf/probe.ts';
import { type Feature, missingFeatures, probe } from '../kernel/features.ts';
import { openIpvs } from '../kernel/ipvs.ts';
import { inScratchNetns } from '../kernel/netns.ts';
import { HeddleError } from '../lib/errors.ts';
import type { UpRequest } from './up-request.ts';

/** nftables is nobody's who has eBPF. */
const missingOf = (datapath: DatapathName): [string, Feature][] =>
  datapath === 'ebpf'
    ? [...missingFeatures(probe()).filter(([name]) => !/nftables/.test(name)), ...missingBpf(probeBpf())]
    : missingFeatures(probe());

const refusedByName = /EPERM|EACCES|Operation not permitted/;
const UNPRIVILEGED =
  'root here may not do this, whatever the kernel offers: it lacks CAP_SYS_ADMIN or CAP_NET_ADMIN; in a container: --privileged';

/** @throws HeddleError `KernelFeature`, `PortInUse` */
export function checkMachine({ config, publish }: UpRequest): void {
  const missing = missingOf(config.datapath);
  if (missing.length > 0) {
    const lines = missing.map(
      ([name, { purpose, why, hint }]) => `${name} (for ${purpose}): ${why}; ${hint}`,
    );
    if (missing.every(([, { why }]) => refusedByName.test(why ?? ''))) lines.unshift(UNPRIVILEGED);
    throw new HeddleError('KernelFeature', `this machine lacks ${missing.map(([name]) => name).join(', ')}`, {
      hint: lines.join('\n        '),
    });
  }
  if (config.datapath === 'ipvs') inScratchNetns(() => openIpvs().close());
  checkPortFree(config.apiServer.publishedPort, '--api-port');
  for (const { hostPort } of publish) checkPortFree(hostPort, '--publish SERVICE:PORT:HOSTPORT');
}
