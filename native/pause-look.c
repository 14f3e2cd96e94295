/*
 * For a container that looks into another: among its processes, with files of its own.
 *
 * look PID CGROUP -- BWRAP...: bwrap, and with it `inside --look`, get what leads to the processes of the container
 * whose first is PID. They themselves stay out, so that nobody in there sees how they were started.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pause.h"

enum { FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC };

int look(int argc, char **argv) {
  char path[64];
  if (argc < 6 || strcmp(argv[4], "--")) die(2, "usage: heddle-pause look PID CGROUP -- BWRAP...");
  int pid = atoi(argv[2]);
  snprintf(path, sizeof path, "/proc/%d", pid);
  int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  /* In this order: should the process end in between, nothing can be opened below its folder. */
  if (proc < 0 || !is_in_cgroup(argv[3], pid)) die(START_ERROR, "the container that is looked into has ended");
  /* Of one that has joined another itself these are other ones than its own. */
  int fd = openat(proc, "ns/pid_for_children", O_RDONLY | O_CLOEXEC);
  /* dup2 of a descriptor to itself would leave it to be closed. */
  if (fd < 0 || (fd == PROCESSES_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, PROCESSES_FD)) < 0) die(START_ERROR, "the container that is looked into has ended: %s", strerror(errno));
  execvp(argv[5], argv + 5);
  die(START_ERROR, "cannot start %s: %s", argv[5], strerror(errno));
}

/* As one of those processes: /proc is whose it is mounted by. */
static _Noreturn void mount_proc(void) {
  /* As bwrap does it. */
  static const char *const fixed[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"};
  /* What bwrap has put there is the machine's. */
  if (umount2("/proc", MNT_DETACH) < 0) die(START_ERROR, "cannot unmount /proc: %s", strerror(errno));
  if (mount("proc", "/proc", "proc", FLAGS, NULL) < 0) die(START_ERROR, "cannot mount /proc: %s", strerror(errno));
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
    if (access(fixed[i], F_OK) < 0) continue;
    if (mount(fixed[i], fixed[i], NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | FLAGS, NULL) < 0)
      die(START_ERROR, "cannot make %s read-only: %s", fixed[i], strerror(errno));
  }
  _exit(0);
}

void join_processes(void) {
  int status;
  own_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  /* For our children, not for us. */
  if (setns(PROCESSES_FD, CLONE_NEWPID) < 0) die(START_ERROR, "cannot join the container's processes: %s", strerror(errno));
  close(PROCESSES_FD);
  pid_t child = fork();
  if (child < 0) die(START_ERROR, "cannot fork: %s", strerror(errno));
  if (child == 0) mount_proc();
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) _exit(START_ERROR);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) _exit(START_ERROR);
}
