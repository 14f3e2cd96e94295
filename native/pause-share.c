/*
 * The first process of a pod whose containers see each other's (shareProcessNamespace): it keeps the PID namespace, takes
 * over who has lost their parent, and has nothing that anybody could want: no files, no capabilities, no way to be traced.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pause.h"

enum { NOBODY = 65534, WORD_BYTES = 1024 };

/* As `fail` of pause-oci.c: its words go where those of a container go. */
static _Noreturn void give_up(const char *what) {
  char words[WORD_BYTES] = {REACHED, FAILED};
  snprintf(words + 2, sizeof words - 2, "cannot share processes: %s: %s", what, strerror(errno));
  if (write(REPORT_FD, words, strlen(words)) < 0) _exit(START_ERROR);
  _exit(START_ERROR);
}

/* Whoever sees us in /proc sees no file of the machine through us, nor where the pod's are. */
static void leave_files(char **argv, char *end) {
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
      mount("heddle", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555,size=4096") < 0 || chdir("/proc") < 0 ||
      syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    give_up("files");
  memset(argv[0], 0, (size_t)(end - argv[0]));
  strcpy(argv[0], "/pause");
  prctl(PR_SET_NAME, "pause", 0, 0, 0);
}

static void leave_privileges(bool mapped) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  unsigned who = mapped ? 0 : NOBODY;
  if (setresgid(who, who, who) < 0 || setresuid(who, who, who) < 0 || syscall(SYS_capset, &header, none) < 0 ||
      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    give_up("privileges");
}

static _Noreturn void be_first(bool mapped, int go, char **argv, char *end) {
  sigset_t ended;
  char byte;
  setsid();
  leave_files(argv, end);
  leave_privileges(mapped);
  /* Last: a change of who we are would take it back. With us, all others of the namespace go. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) give_up("the holder's end");
  /* Nothing comes from a holder that has gone already. */
  if (write(REPORT_FD, "", 1) != 1 || read(go, &byte, 1) != 1) _exit(START_ERROR);
  close_range(0, ~0U, 0);
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  for (;;) {
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    sigwaitinfo(&ended, NULL);
  }
}

/* Makes the namespaces, and a child of the holder's own in them. */
static _Noreturn void make_first(unsigned base, int go, char **argv, char *end) {
  char text[32];
  if (base != 0) {
    int users = open_user_namespace(base);
    if (setns(users, CLONE_NEWUSER) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) give_up("user namespace");
    close(users);
  }
  if (unshare(CLONE_NEWPID) < 0) give_up("PID namespace");
  pid_t first = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
  if (first < 0) give_up("clone");
  if (first == 0) be_first(base != 0, go, argv, end);
  int length = snprintf(text, sizeof text, "%d", first);
  if (write(REPORT_FD, text, (size_t)length) != length) _exit(START_ERROR);
  _exit(0);
}

pid_t share_processes(unsigned base, char **argv, char *end) {
  int report[2], go[2], status;
  char text[WORD_BYTES] = "";
  size_t length = 0;
  if (pipe2(report, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0) die(1, "cannot make a pipe: %s", strerror(errno));
  pid_t maker = fork();
  if (maker < 0) die(1, "cannot fork: %s", strerror(errno));
  if (maker == 0) {
    int own = fcntl(report[1], F_DUPFD_CLOEXEC, 64), heard = fcntl(go[0], F_DUPFD_CLOEXEC, 64);
    close_range(STDERR_FILENO + 1, 63, 0);
    if (dup2(own, REPORT_FD) < 0) _exit(START_ERROR);
    close(own);
    make_first(base, heard, argv, end);
  }
  close(report[1]);
  close(go[0]);
  waitpid(maker, &status, 0);
  /* Its number, of the maker; then, of itself, that it is ready, or why it is not. */
  for (ssize_t n; length < sizeof text - 1 && !memchr(text, 0, length) && (n = read(report[0], text + length, sizeof text - 1 - length)) > 0;)
    length += (size_t)n;
  const char *words = strchr(text, REACHED);
  pid_t first = (pid_t)atoi(text);
  if (words) die(1, "%s", words + 2);
  if (first <= 0 || !memchr(text, 0, length) || write(go[1], "", 1) != 1) die(1, "cannot share processes: it ended with %d", status);
  close(report[0]);
  close(go[1]);
  return first;
}
