/**
 * On machines that drop what they forward: packets of a container may pass, answers to it, and what a host port leads
 * to it. In the machine's own chains, for no chain of ours can undo a drop in another.
 */
import type { Nft } from '../../kernel/nft.ts';
import { HeddleError } from '../../lib/errors.ts';
import { CniCode, CniError } from '../error.ts';
import type { Firewall } from '../meta/metas.ts';
import type { FirewallRules } from '../meta/types.ts';
import { createTurns } from '../turns.ts';
import { createNftFirewall } from './firewall-nft.ts';
import { type Argv, createIptablesFirewall, hasIptables } from './firewall-iptables.ts';

/** One way to write the rules. All are idempotent. */
export interface FirewallBackend {
  allow(mark: string, rules: FirewallRules): Promise<void>;
  revoke(mark: string): Promise<void>;
  /** All that is marked as ours; how many rules that was. */
  sweep(): Promise<number>;
  /** Addresses that lack a rule. */
  lacking(mark: string, rules: FirewallRules): Promise<string[]>;
}

export function createFirewall({ nft, run }: { nft: Nft; run: Argv }): Firewall {
  const backends = { iptables: createIptablesFirewall(run), nftables: createNftFirewall(nft) };
  const turns = createTurns();
  /** Reading and then changing is one turn: nobody else changes meanwhile. */
  const alone = <T>(work: () => Promise<T>): Promise<T> => turns.take('rules', work);

  return {
    async plan({ backend, adminChain }, addresses) {
      const there = await hasIptables(run);
      if (backend === 'iptables' && !there)
        throw new CniError(
          CniCode.unsupportedField,
          'backend "iptables" is not supported: there is no iptables-restore on this machine',
          'backend: nftables needs no program',
        );
      return { backend: backend ?? (there ? 'iptables' : 'nftables'), addresses, adminChain };
    },
    allow: (mark, rules) => alone(() => backends[rules.backend].allow(mark, rules)),
    revoke: (mark, rules) =>
      alone(async () => {
        if (rules) return backends[rules.backend].revoke(mark);
        await backends.nftables.revoke(mark);
        if (await hasIptables(run)) await backends.iptables.revoke(mark);
      }),
    sweep: () =>
      alone(
        async () =>
          (await backends.nftables.sweep()) +
          ((await hasIptables(run)) ? await backends.iptables.sweep() : 0),
      ),
    missing: (mark, rules) =>
      alone(async () =>
        (await backends[rules.backend].lacking(mark, rules)).map(
          (address) => `the firewall does not let packets of ${address} pass any more`,
        ),
      ),
  };
}

export const firewallError = (words: string): HeddleError =>
  new HeddleError('CniFirewall', `cannot change the machine's firewall: ${words}`, {
    hint: 'another program may hold its lock, or have changed the chains meanwhile',
  });
