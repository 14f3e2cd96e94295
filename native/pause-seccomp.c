/* The profile RuntimeDefault: what a container has no business calling answers EPERM. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pause.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE(number) ANSWER(SECCOMP_RET_ERRNO | (number))
#define IS(value, skip_if_not) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip_if_not)

static const int refused[] = {
  SYS_acct, SYS_add_key, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module, SYS_finit_module,
  SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register,
  SYS_io_uring_setup, SYS_kcmp, SYS_kexec_load, SYS_keyctl, SYS_lookup_dcookie, SYS_mount, SYS_move_mount,
  SYS_name_to_handle_at, SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open,
  SYS_pivot_root, SYS_process_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_quotactl, SYS_reboot,
  SYS_request_key, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff, SYS_swapon,
  SYS_syslog, SYS_umount2, SYS_unshare, SYS_userfaultfd, SYS_vhangup,
#ifdef SYS_kexec_file_load
  SYS_kexec_file_load,
#endif
#ifdef SYS_mount_setattr
  SYS_mount_setattr,
#endif
#ifdef SYS_iopl
  SYS_iopl, SYS_ioperm, SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_uselib, SYS_ustat, SYS_sysfs,
#endif
};

enum { X32_BIT = 0x40000000 };
#define NEW_NAMESPACES \
  (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

void filter_system_calls(void) {
  struct sock_filter program[2 * sizeof refused / sizeof *refused + 32];
  size_t n = 0;
  const struct sock_filter head[] = {
    LOAD(arch),
    IS(OWN_ARCH, 1),
    BPF_STMT(BPF_JMP | BPF_JA, 1),
    REFUSE(ENOSYS),
    LOAD(nr),
#if defined(__x86_64__)
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1),
    REFUSE(ENOSYS),
#endif
    /* Its flags are out of reach of a filter; without it, libc takes clone. */
    IS(SYS_clone3, 1),
    REFUSE(ENOSYS),
    IS(SYS_clone, 3),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)NEW_NAMESPACES, 0, 1),
    REFUSE(EPERM),
    LOAD(nr),
  };
  memcpy(program, head, sizeof head);
  n = sizeof head / sizeof *head;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    program[n++] = (struct sock_filter)IS((unsigned)refused[i], 1);
    program[n++] = (struct sock_filter)REFUSE(EPERM);
  }
  program[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
  const struct sock_fprog filter = {(unsigned short)n, program};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0)
    die(START_ERROR, "cannot filter system calls (seccompProfile Unconfined goes without): %s", strerror(errno));
}
