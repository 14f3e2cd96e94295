/** The iptables mode in a lab's node: services by iptables, policy by nftables, with what is sent laid open. */
import type { TestContext } from 'node:test';
import { openConntrack } from '../../kernel/conntrack.ts';
import { run } from '../../kernel/spawn.ts';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import { silentLog } from '../../lib/log.ts';
import type { Backend } from '../backend.ts';
import { composeBackends } from '../compose.ts';
import { createPrograms, type Programs } from '../iptables/programs.ts';
import { createIptablesServices } from '../iptables/services.ts';
import type { LabNode } from './lab.ts';
import { openNftables } from './nftables.ts';

export interface OpenedIptables extends Backend {
  /** Batches that were sent, to nftables and iptables. */
  sent(): number;
  readonly programs: Programs;
}

export const openIptables =
  (variant: 'nft' | 'legacy') =>
  (t: Pick<TestContext, 'after'>, node: LabNode): OpenedIptables => {
    const programs = createPrograms({ run, netns: node.ns, variant });
    const policy = openNftables(t, node, { table: 'heddle-policy-iptables', services: false });
    const conntrack = openConntrack(node.ns);
    t.after(() => conntrack.close());
    let restores = 0;
    const services = createIptablesServices({
      programs: {
        ...programs,
        restore(family, input) {
          restores++;
          return programs.restore(family, input);
        },
      },
      deleteFlows: (filter) => conntrack.delete(filter),
      listFlows: () => conntrack.list(),
      addFlows: (connections) => conntrack.add(connections),
      sysctls: {
        read: (key) => readSysctl(node.ns, key),
        write: (key, value) => writeSysctl(node.ns, key, value),
      },
      log: silentLog,
    });
    const backend = composeBackends({ name: 'iptables', parts: [policy, services] });
    return { ...backend, sent: () => policy.sent.length + restores, programs };
  };
