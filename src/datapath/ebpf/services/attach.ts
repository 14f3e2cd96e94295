/** The socket programs at the node's cgroup. */
import { attachCgroup, type CgroupHook, detach } from '../../../kernel/bpf/links.ts';
import { kernelAtLeast } from '../../../kernel/release.ts';
import type { Programs } from '../loader.ts';

/** Object and program → hook. */
export const socketHooks: readonly { object: string; program: string; hook: CgroupHook }[] = [
  // What reads comes before what translates: no socket learns an address that it did not ask for.
  { object: 'sock-release', program: 'sock_release', hook: 'sockRelease' },
  { object: 'sock-getpeername4', program: 'sock_getpeer4', hook: 'getpeername4' },
  { object: 'sock-getpeername6', program: 'sock_getpeer6', hook: 'getpeername6' },
  { object: 'sock-recvmsg4', program: 'sock_recvmsg4', hook: 'recvmsg4' },
  { object: 'sock-recvmsg6', program: 'sock_recvmsg6', hook: 'recvmsg6' },
  { object: 'sock-sendmsg4', program: 'sock_sendmsg4', hook: 'sendmsg4' },
  { object: 'sock-sendmsg6', program: 'sock_sendmsg6', hook: 'sendmsg6' },
  { object: 'sock-connect4', program: 'sock_connect4', hook: 'connect4' },
  { object: 'sock-connect6', program: 'sock_connect6', hook: 'connect6' },
];

/** Filled by the programs, though they are no LRU maps: for `openPrograms`. */
export const SOCKET_MAPS: readonly string[] = [
  'socket_slots',
  'socket_services',
  'backend_connections',
  'backend_flows',
];

/** First values of globals, for `openPrograms`. */
export const socketGlobals = (): { can_set_retval: number } => ({
  can_set_retval: kernelAtLeast(5, 18) ? 1 : 0,
});

/** Attaching again replaces programs without a gap. @throws HeddleError `BpfAttach`, `Kernel` */
export function attachSockets(programs: Programs, cgroup: string): { created: number } {
  let created = 0;
  for (const { program, hook } of socketHooks) {
    const attachment = attachCgroup({
      cgroup,
      attachType: hook,
      program: programs.program(program),
      pinPath: programs.linkPath(program),
    });
    if (attachment.created) created++;
  }
  return { created };
}

/** What translates goes first, and what reads back last. */
export function detachSockets(programs: Pick<Programs, 'linkPath'>): void {
  for (const { program } of socketHooks.toReversed()) detach(programs.linkPath(program));
}
