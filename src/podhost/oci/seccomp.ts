/** The profile RuntimeDefault for runc: what native/pause-seccomp.c filters, for whom runc starts. Pure. */

/** Answer EPERM. A test holds this list and the one in C together. */
export const REFUSED: readonly string[] = `
  acct add_key bpf clock_adjtime clock_settime delete_module finit_module fsconfig fsmount fsopen
  fspick init_module io_uring_enter io_uring_register io_uring_setup kcmp kexec_load keyctl
  lookup_dcookie mount move_mount name_to_handle_at nfsservctl open_by_handle_at open_tree
  perf_event_open pivot_root process_madvise process_vm_readv process_vm_writev quotactl reboot
  request_key setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare
  userfaultfd vhangup kexec_file_load mount_setattr iopl ioperm create_module get_kernel_syms
  query_module uselib ustat sysfs
`
  .trim()
  .split(/\s+/);

const EPERM = 1;
const ENOSYS = 38;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h). */
const NEW_NAMESPACES = [
  0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
];

const refuse = (names: readonly string[], errnoRet: number, args: object[] = []) => ({
  names,
  action: 'SCMP_ACT_ERRNO',
  errnoRet,
  args,
});

/** runtime-spec, config-linux.md, Seccomp. */
export function defaultSeccomp(arch: string = process.arch): object {
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: [arch === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64'],
    syscalls: [
      refuse(REFUSED, EPERM),
      // Its flags are out of reach of a filter; without it, libc takes clone.
      refuse(['clone3'], ENOSYS),
      ...NEW_NAMESPACES.map((flag) =>
        refuse(['clone'], EPERM, [{ index: 0, value: flag, valueTwo: flag, op: 'SCMP_CMP_MASKED_EQ' }]),
      ),
    ],
  };
}
