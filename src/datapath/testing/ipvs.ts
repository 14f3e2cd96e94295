/** The IPVS backend in a lab's node, with what it sends laid open. */
import { execFileSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { openConntrack } from '../../kernel/conntrack.ts';
import { type IpvsEdit, openIpvs } from '../../kernel/ipvs.ts';
import { inScratchNetns } from '../../kernel/netns.ts';
import { openNft } from '../../kernel/nft.ts';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { HeddleError } from '../../lib/errors.ts';
import { silentLog } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import { composeBackends } from '../compose.ts';
import { createIpvsPart } from '../ipvs/part.ts';
import type { LabNode } from './lab.ts';
import { openNftables } from './nftables.ts';

export interface OpenedIpvs extends Backend {
  /** Batches and transactions that were sent, listings left out. */
  sent(): number;
  readonly edits: IpvsEdit[];
  byHand(commands: string): string;
  ipvsadm(...args: string[]): string;
}

/** A reason to skip, false where this kernel has IPVS. */
export function needsIpvs(): string | false {
  if (needsRoot !== false) return needsRoot;
  try {
    inScratchNetns(() => openIpvs().close());
    return false;
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== 'KernelFeature') throw error;
    return 'this kernel has no IPVS: npm run check:deep runs it in a test-bed (not in CI)';
  }
}

export function openIpvsBackend(t: Pick<TestContext, 'after'>, node: LabNode): OpenedIpvs {
  const { ns, route } = node;
  const policy = openNftables(t, node, { services: false, relayed: true });
  const [ipvs, nft, conntrack] = [openIpvs(ns), openNft(ns), openConntrack(ns)];
  const edits: IpvsEdit[] = [];
  let sent = 0;
  const services = createIpvsPart({
    openIpvs: () => ({
      ...ipvs,
      run(list) {
        sent++;
        edits.push(...list);
        ipvs.run(list);
      },
    }),
    nft: {
      run(commands) {
        if (!commands.startsWith('list ')) sent++;
        return nft.run(commands);
      },
      close: nft.close,
    },
    route,
    sysctls: {
      read: (key) => readSysctl(ns, key),
      write: (key, value) => writeSysctl(ns, key, value),
    },
    deleteFlows: (filter) => conntrack.delete(filter),
    listFlows: () => conntrack.list(),
    log: silentLog,
  });
  const backend = composeBackends({ name: 'ipvs', parts: [policy, services] });
  t.after(() => {
    services.close();
    conntrack.close();
  });
  return {
    ...backend,
    sent: () => sent + policy.sent.length,
    edits,
    byHand: (commands) => policy.byHand(commands),
    ipvsadm: (...args) =>
      execFileSync('nsenter', [`--net=${ns.path}`, '/usr/sbin/ipvsadm', ...args], { encoding: 'utf8' }),
  };
}
