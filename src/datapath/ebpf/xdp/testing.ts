/** What tests of the uplink's protection share: bursts of datagrams and connections, and the counters. */
import fs from 'node:fs';
import type { TestContext } from 'node:test';
import { libc, systemError } from '../../../kernel/ffi.ts';
import { inNetns, type Netns } from '../../../kernel/netns.ts';
import { bindUdp } from '../../../kernel/sockets.ts';
import type { Change, Protection } from '../../plan/tables.ts';
import { SETTINGS_KEY } from '../../plan/tables.ts';
import { socketAddress } from '../../testing/packets.ts';
import { sumWords } from '../core/counters.ts';
import type { Programs } from '../loader.ts';

/** As in bpf/include/drop.h. */
export const DROP = { denied: 10, packetRate: 11, connectionRate: 12 } as const;

export const protectionChange = (protection: Partial<Protection> | undefined): Change => ({
  table: 'protection',
  key: SETTINGS_KEY,
  value: protection && { objects: ['test'], denied: [], ...protection },
});

/** Packets that were dropped for a reason. */
export function dropped(programs: Pick<Programs, 'map'>, reason: number): number {
  const value = programs.map('drop_counters').lookup(new Uint8Array(Uint32Array.of(reason).buffer));
  return value ? (sumWords(value, 2)[0] ?? 0) : 0;
}

/** Sends so many datagrams of `size` bytes, one after the other without waiting. */
export function sendBurst(ns: Netns, from: string, to: string, port: number, count: number, size = 1): void {
  const fd = bindUdp(ns, from, 0);
  try {
    const address = socketAddress(to, port);
    if (libc.connect(fd, address, address.length) !== 0) throw systemError(`connect to ${to}`);
    const data = Buffer.alloc(size);
    for (let i = 0; i < count; i++) if (libc.send(fd, data, data.length, 0) < 0) i--;
  } finally {
    fs.closeSync(fd);
  }
}

const MSG_DONTWAIT = 0x40;

/** A socket that counts what reaches it; nothing is read until `count`. */
export function openSink(t: Pick<TestContext, 'after'>, ns: Netns, address: string, port: number) {
  const fd = bindUdp(ns, address, port);
  t.after(() => fs.closeSync(fd));
  const buffer = Buffer.alloc(2048);
  return {
    /** Since the last time. */
    count(): number {
      let count = 0;
      while (inNetns(ns, () => libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT)) >= 0) count++;
      return count;
    },
  };
}
