/**
 * What calling the kernel without the C library between takes: the numbers of the calls, and a few bytes of machine
 * code that make any of them and return what the kernel returned, -errno where it failed.
 *
 * The C library leaves the error in `errno`, which JavaScript can only read by a second call. What the engine does
 * between the two (collecting garbage, waiting for a lock) may have left another number there: a pin that is not there
 * was once told as EAGAIN.
 */
import { HeddleError } from '../lib/errors.ts';

interface Architecture {
  /** A C function: its first argument is the call's number, up to six of the call's own follow. */
  readonly code: readonly (readonly number[])[];
  /** asm/unistd.h */
  readonly numbers: Readonly<Record<SystemCall, number>>;
}

export type SystemCall =
  | 'accept4'
  | 'bind'
  | 'bpf'
  | 'connect'
  | 'flock'
  | 'getsockopt'
  | 'ioctl'
  | 'listen'
  | 'mmap'
  | 'mount'
  | 'munmap'
  | 'read'
  | 'recvfrom'
  | 'sched_setscheduler'
  | 'sendto'
  | 'setns'
  | 'setsockopt'
  | 'socket'
  | 'timerfd_create'
  | 'timerfd_settime'
  | 'umount2'
  | 'unshare'
  | 'write';

const architectures: Readonly<Record<string, Architecture>> = {
  x64: {
    code: [
      [0x48, 0x89, 0xf8], // mov %rdi, %rax
      [0x48, 0x89, 0xf7], // mov %rsi, %rdi
      [0x48, 0x89, 0xd6], // mov %rdx, %rsi
      [0x48, 0x89, 0xca], // mov %rcx, %rdx
      [0x4d, 0x89, 0xc2], // mov %r8, %r10
      [0x4d, 0x89, 0xc8], // mov %r9, %r8
      [0x4c, 0x8b, 0x4c, 0x24, 0x08], // mov 8(%rsp), %r9
      [0x0f, 0x05], // syscall
      [0xc3], // ret
    ],
    numbers: {
      accept4: 288,
      bind: 49,
      bpf: 321,
      connect: 42,
      flock: 73,
      getsockopt: 55,
      ioctl: 16,
      listen: 50,
      mmap: 9,
      mount: 165,
      munmap: 11,
      read: 0,
      recvfrom: 45,
      sched_setscheduler: 144,
      sendto: 44,
      setns: 308,
      setsockopt: 54,
      socket: 41,
      timerfd_create: 283,
      timerfd_settime: 286,
      umount2: 166,
      unshare: 272,
      write: 1,
    },
  },
  arm64: {
    code: [
      [0xe8, 0x03, 0x00, 0xaa], // mov x8, x0
      [0xe0, 0x03, 0x01, 0xaa], // mov x0, x1
      [0xe1, 0x03, 0x02, 0xaa], // mov x1, x2
      [0xe2, 0x03, 0x03, 0xaa], // mov x2, x3
      [0xe3, 0x03, 0x04, 0xaa], // mov x3, x4
      [0xe4, 0x03, 0x05, 0xaa], // mov x4, x5
      [0xe5, 0x03, 0x06, 0xaa], // mov x5, x6
      [0x01, 0x00, 0x00, 0xd4], // svc #0
      [0xc0, 0x03, 0x5f, 0xd6], // ret
    ],
    numbers: {
      accept4: 242,
      bind: 200,
      bpf: 280,
      connect: 203,
      flock: 32,
      getsockopt: 209,
      ioctl: 29,
      listen: 201,
      mmap: 222,
      mount: 40,
      munmap: 215,
      read: 63,
      recvfrom: 207,
      sched_setscheduler: 119,
      sendto: 206,
      setns: 268,
      setsockopt: 208,
      socket: 198,
      timerfd_create: 85,
      timerfd_settime: 86,
      umount2: 39,
      unshare: 97,
      write: 64,
    },
  },
};

/** `name` as `process.arch` has it. @throws HeddleError `Kernel` for a processor that nobody wrote down here */
export function systemCallsOf(name: string): { code: Uint8Array; numbers: Architecture['numbers'] } {
  const found = architectures[name];
  if (!found)
    throw new HeddleError('Kernel', `the system calls of ${name} are not known here`, {
      hint: `run on ${Object.keys(architectures).join(' or ')}`,
    });
  return { code: Uint8Array.from(found.code.flat()), numbers: found.numbers };
}
