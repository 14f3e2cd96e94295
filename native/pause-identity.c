/* Who a container's program is: ids, capabilities, user namespace. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pause.h"

enum { MAX_PROCESSES = 4096, LAST_CAPABILITY = 63 };

static struct id_pair read_pair(const char *text) {
  struct id_pair pair;
  char rest;
  if (sscanf(text, "%u:%u%c", &pair.inside, &pair.outside, &rest) != 2)
    die(START_ERROR, "\"%s\" is not a pair of ids, inside:outside", text);
  return pair;
}

static void read_groups(char *list, struct identity *who) {
  for (char *one = strtok(list, ","); one; one = strtok(NULL, ",")) {
    if (who->group_count == MAX_GROUPS) die(START_ERROR, "more than %d groups", MAX_GROUPS);
    who->groups[who->group_count++] = read_pair(one);
  }
}

int read_identity(int argc, char **argv, int at, struct identity *who) {
  *who = (struct identity){.folder = "/"};
  for (; at < argc; at++) {
    const char *flag = argv[at];
    if (!strcmp(flag, "--")) return at + 1;
    if (!strcmp(flag, "--unconfined")) {
      who->unconfined = true;
      continue;
    }
    if (!strcmp(flag, "--tty") || !strcmp(flag, "--control")) {
      *(flag[2] == 't' ? &who->terminal : &who->control) = true;
      continue;
    }
    if (!strcmp(flag, "--look")) {
      who->joined = true;
      continue;
    }
    if (!strcmp(flag, "--new-privileges")) {
      who->new_privileges = true;
      continue;
    }
    if (++at >= argc) break;
    if (!strcmp(flag, "--user")) who->user = read_pair(argv[at]);
    else if (!strcmp(flag, "--group")) who->group = read_pair(argv[at]);
    else if (!strcmp(flag, "--groups")) read_groups(argv[at], who);
    else if (!strcmp(flag, "--capabilities")) who->capabilities = strtoull(argv[at], NULL, 16);
    else if (!strcmp(flag, "--seccomp")) read_profile(argv[at]), who->own_profile = true;
    else if (!strcmp(flag, "--cwd")) who->folder = argv[at];
    else if (!strcmp(flag, "--env")) who->environment = argv[at];
    else die(START_ERROR, "unknown flag %s", flag);
  }
  die(START_ERROR, "no command after --");
}

static bool is_mapped(const struct identity *who) {
  bool mapped = who->user.inside != who->user.outside || who->group.inside != who->group.outside;
  for (size_t i = 0; i < who->group_count; i++)
    mapped |= who->groups[i].inside != who->groups[i].outside;
  return mapped;
}

static size_t add_line(char *text, size_t length, size_t size, struct id_pair pair) {
  return length + (size_t)snprintf(text + length, size - length, "%u %u 1\n", pair.inside, pair.outside);
}

int own_proc = -1;

static void write_map(pid_t pid, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "%d/%s", pid, name);
  int proc = own_proc >= 0 ? own_proc : open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
    die(START_ERROR, "cannot write /proc/%s: %s", path, strerror(errno));
  close(fd);
  if (proc != own_proc) close(proc);
}

static void write_maps(pid_t pid, const struct identity *who) {
  char text[(MAX_GROUPS + 1) * 32];
  add_line(text, 0, sizeof text, who->user);
  write_map(pid, "uid_map", text);
  size_t length = add_line(text, 0, sizeof text, who->group);
  for (size_t i = 0; i < who->group_count; i++) {
    bool known = who->groups[i].inside == who->group.inside;
    for (size_t j = 0; j < i; j++) known |= who->groups[j].inside == who->groups[i].inside;
    if (!known) length = add_line(text, length, sizeof text, who->groups[i]);
  }
  write_map(pid, "gid_map", text);
}

/* Only who stays outside may write the maps of more than one id. */
static void make_user_namespace(const struct identity *who) {
  int ready[2];
  pid_t self = getpid();
  if (pipe2(ready, O_CLOEXEC) < 0) die(START_ERROR, "cannot make a pipe: %s", strerror(errno));
  pid_t writer = fork();
  if (writer < 0) die(START_ERROR, "cannot fork: %s", strerror(errno));
  if (writer == 0) {
    char byte;
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) _exit(1);
    write_maps(self, who);
    _exit(0);
  }
  if (unshare(CLONE_NEWUSER) < 0)
    die(START_ERROR, "cannot make a user namespace, which runAsUser and groups need: %s", strerror(errno));
  int status;
  close(ready[0]);
  if (write(ready[1], "", 1) != 1 || waitpid(writer, &status, 0) != writer || status != 0)
    die(START_ERROR, "cannot map the ids of the container");
  close(ready[1]);
}

static void drop_capabilities(unsigned long long kept) {
  for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
    if (!(kept >> capability & 1) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
      die(START_ERROR, "cannot give up capability %d: %s", capability, strerror(errno));
}

/* Only root has any left: others lose them with the program that they start. */
static void keep_capabilities(const struct identity *who) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct kept[2] = {0};
  for (int i = 0; i < 2 && who->user.inside == 0; i++)
    kept[i].effective = kept[i].permitted = (unsigned)(who->capabilities >> (32 * i));
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &header, kept) < 0)
    die(START_ERROR, "cannot give up capabilities: %s", strerror(errno));
}

void become(const struct identity *who, bool make) {
  struct rlimit processes = {MAX_PROCESSES, MAX_PROCESSES};
  gid_t groups[MAX_GROUPS];
  setrlimit(RLIMIT_NPROC, &processes);
  /* The machine's own capabilities are none that a container could have. */
  if (make && (is_mapped(who) || who->capabilities)) make_user_namespace(who);
  /* Without no_new_privs only who still has capabilities may add a filter. */
  if (who->new_privileges && who->own_profile) apply_profile();
  else if (who->new_privileges && !who->unconfined) filter_system_calls();
  drop_capabilities(who->capabilities);
  for (size_t i = 0; i < who->group_count; i++) groups[i] = who->groups[i].inside;
  if (setgroups(who->group_count, groups) < 0 || setresgid(who->group.inside, who->group.inside, who->group.inside) < 0 ||
      setresuid(who->user.inside, who->user.inside, who->user.inside) < 0)
    die(START_ERROR, "cannot become user %u, group %u: %s", who->user.inside, who->group.inside, strerror(errno));
  keep_capabilities(who);
  if (who->new_privileges) return;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) die(START_ERROR, "no_new_privs: %s", strerror(errno));
  if (!who->unconfined && !who->own_profile) filter_system_calls();
}
