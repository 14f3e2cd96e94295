/** What tests need of the kernel's own SCTP, where it has one. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { inNetns, inScratchNetns, type Netns } from '../../kernel/netns.ts';
import { listenTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { errnoCode } from '../../lib/errors.ts';

/** A reason to skip, false where this kernel has SCTP. */
export function needsSctp(): string | false {
  if (needsRoot !== false) return needsRoot;
  try {
    fs.closeSync(inScratchNetns(() => listenTcp(undefined, '0.0.0.0', 0, { sctp: true })));
    return fs.existsSync('/usr/sbin/ethtool') ? false : 'needs the Debian package ethtool (not in CI)';
  } catch (error) {
    if (errnoCode(error) !== 'EPROTONOSUPPORT') throw error;
    return 'this kernel has no SCTP: npm run check:deep runs it in a test-bed (not in CI)';
  }
}

/**
 * Whoever sends by `eth0` of `ns` makes the checksums himself. By default a link of two ends leaves them out, and
 * whoever is at the other end does not ask: nothing would tell a wrong one.
 */
export function makeChecksums(ns: Netns): void {
  const path = `--net=${ns.path}`;
  execFileSync(
    'nsenter',
    [path, 'ethtool', '-K', 'eth0', 'tx-checksum-sctp', 'off', 'tx-sctp-segmentation', 'off'],
    { stdio: 'pipe' },
  );
}

/** Packets of SCTP that `ns` heard with a wrong checksum. */
export function checksumErrors(ns: Netns): number {
  const counters = inNetns(ns, () => fs.readFileSync('/proc/thread-self/net/sctp/snmp', 'utf8'));
  const found = /^SctpChecksumErrors\s+(\d+)$/m.exec(counters)?.[1];
  if (found === undefined) throw new Error(`/proc/net/sctp/snmp says nothing of checksums: ${counters}`);
  return Number(found);
}
