/* A profile that a pod names, as the agent writes it (src/podhost/seccomp/profile.ts), made a filter of the kernel's. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

/* LINE: 6 conditions of two numbers of 20 digits at most. RULE_STEPS: instructions of a rule. FAILS: a jump that is set once the rule's end is known. */
enum { LINE_BYTES = 1024, RULE_STEPS = 64, MAX_STEPS = 4096, ARGUMENTS = 6, X32_BIT = 0x40000000, FAILS = 255 };

static const struct {
  const char *name;
  int number;
} calls[] = {
#include SYSCALL_NAMES
};

static struct sock_filter steps[MAX_STEPS];
static size_t count;
static unsigned flags;

static void add(unsigned short code, unsigned k, unsigned yes, unsigned no) {
  if (count == MAX_STEPS) die(START_ERROR, "the seccomp profile is longer than the %d instructions that a filter may have", MAX_STEPS);
  steps[count++] = (struct sock_filter){code, (unsigned char)yes, (unsigned char)no, k};
}

static void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0); }
static void jump(unsigned kind, unsigned k, unsigned yes, unsigned no) { add((unsigned short)(BPF_JMP | BPF_K | kind), k, yes, no); }
static void answer(unsigned value) { add(BPF_RET | BPF_K, value, 0, 0); }

/* Little endian, as both machines are: the upper half is behind the lower one. */
static void compare(unsigned index, const char *how, unsigned long long value, unsigned long long two) {
  size_t low = offsetof(struct seccomp_data, args) + 8UL * index, high = low + 4;
  unsigned upper = (unsigned)(value >> 32), lower = (unsigned)value;
  if (!strcmp(how, "MASKED_EQ")) {
    load(high);
    add(BPF_ALU | BPF_AND | BPF_K, upper, 0, 0);
    jump(BPF_JEQ, (unsigned)(two >> 32) & upper, 0, FAILS);
    load(low);
    add(BPF_ALU | BPF_AND | BPF_K, lower, 0, 0);
    jump(BPF_JEQ, (unsigned)two & lower, 0, FAILS);
    return;
  }
  load(high);
  if (!strcmp(how, "EQ")) jump(BPF_JEQ, upper, 0, FAILS);
  else if (!strcmp(how, "NE")) jump(BPF_JEQ, upper, 0, 2);
  else if (how[0] == 'G') {
    jump(BPF_JGT, upper, 3, 0);
    jump(BPF_JEQ, upper, 0, FAILS);
  } else {
    jump(BPF_JGE, upper, 0, 3);
    jump(BPF_JEQ, upper, 0, FAILS);
  }
  load(low);
  if (!strcmp(how, "EQ")) jump(BPF_JEQ, lower, 0, FAILS);
  else if (!strcmp(how, "NE")) jump(BPF_JEQ, lower, FAILS, 0);
  else if (!strcmp(how, "GT")) jump(BPF_JGT, lower, 0, FAILS);
  else if (!strcmp(how, "GE")) jump(BPF_JGE, lower, 0, FAILS);
  else if (!strcmp(how, "LT")) jump(BPF_JGE, lower, FAILS, 0);
  else if (!strcmp(how, "LE")) jump(BPF_JGT, lower, FAILS, 0);
  else die(START_ERROR, "the seccomp profile compares by \"%s\"", how);
}

static void add_rule(unsigned number, unsigned value, const char *conditions) {
  size_t start = count;
  int used;
  unsigned index;
  char how[16];
  unsigned long long one, two;
  jump(BPF_JEQ, number, 0, FAILS);
  while (sscanf(conditions, " %u %15s %llu %llu%n", &index, how, &one, &two, &used) == 4) {
    if (index >= ARGUMENTS) die(START_ERROR, "the seccomp profile has no argument %u", index);
    compare(index, how, one, two);
    conditions += used;
  }
  answer(value);
  size_t end = count;
  if (end - start > RULE_STEPS) die(START_ERROR, "the seccomp profile has too many conditions on one call");
  for (size_t i = start; i < end; i++) {
    if (BPF_CLASS(steps[i].code) != BPF_JMP) continue;
    if (steps[i].jt == FAILS) steps[i].jt = (unsigned char)(end - i - 1);
    if (steps[i].jf == FAILS) steps[i].jf = (unsigned char)(end - i - 1);
  }
  /* The conditions have loaded something else. */
  if (end - start > 2) load(offsetof(struct seccomp_data, nr));
}

void read_profile(const char *path) {
  char line[LINE_BYTES], name[128];
  unsigned value, fallback = SECCOMP_RET_KILL_PROCESS;
  int used;
  FILE *file = fopen(path, "re");
  if (!file || !fgets(line, sizeof line, file) || sscanf(line, "filter %u %x", &flags, &fallback) != 2)
    die(START_ERROR, "cannot read the seccomp profile %s: %s", path, strerror(errno));
  load(offsetof(struct seccomp_data, arch));
  jump(BPF_JEQ, OWN_ARCH, 1, 0);
  answer(SECCOMP_RET_ERRNO | ENOSYS);
  load(offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
  jump(BPF_JSET, X32_BIT, 0, 1);
  answer(SECCOMP_RET_ERRNO | ENOSYS);
#endif
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "call %127s %x%n", name, &value, &used) != 2)
      die(START_ERROR, "cannot read the seccomp profile %s: %s", path, line);
    /* A call that this machine does not have is none that anybody can make. */
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
      if (!strcmp(calls[i].name, name)) add_rule((unsigned)calls[i].number, value, line + used);
  }
  fclose(file);
  answer(fallback);
}

void apply_profile(void) {
  const struct sock_fprog filter = {(unsigned short)count, steps};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) < 0)
    die(START_ERROR, "cannot filter system calls by the pod's profile: %s", strerror(errno));
}
