/* The first process of a container, and one more of a container that runs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pause.h"

static int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * The working directory may be a link that the container has made, and one of /proc/self/fd leads to whatever we have
 * open of the machine: nothing is, by then (compare CVE-2024-21626).
 */
static void close_others(int report) {
  unsigned first = STDERR_FILENO + 1;
  if (report >= 0) {
    if (report > STDERR_FILENO + 1) close_range(first, (unsigned)report - 1, 0);
    first = (unsigned)report + 1;
  }
  close_range(first, ~0U, 0);
}

/* The kernel names a folder "(unreachable)" that does not lie below our root. */
static bool is_in_our_root(void) {
  char path[8192];
  long length = syscall(SYS_getcwd, path, sizeof path);
  return length > 0 ? path[0] == '/' : errno == ERANGE || errno == ENAMETOOLONG;
}

/* Does not come back. Words about a failure go to `report`, or to stderr. */
static void start_program(const struct identity *who, char **argv, int report) {
  sigset_t none;
  char words[512];
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  /* Of whoever started us it is narrower: what the program writes is for the pod's other users, too. */
  umask(022);
  close_others(report);
  if (chdir(who->folder) < 0)
    snprintf(words, sizeof words, "%ccannot go to the working directory %s: %s", FAILED, who->folder, strerror(errno));
  else if (!is_in_our_root())
    snprintf(words, sizeof words, "%cthe working directory %s leads out of the container", FAILED, who->folder);
  else {
    /* Last, as it may refuse what has been done until here. Who waits for the program has secrets of nobody's and cannot be traced. */
    if (who->own_profile && !who->new_privileges) apply_profile();
    execvp(argv[0], argv);
    snprintf(words, sizeof words, "%ccannot start %s: %s", FAILED, argv[0],
             errno == ENOENT ? "no such program" : strerror(errno));
  }
  if (report >= 0 && write(report, words, strlen(words)) < 0) _exit(START_ERROR);
  fprintf(stderr, "%s\n", words + 1);
  _exit(errno == ENOENT ? 127 : 126);
}

/* Not on a command line, which every user of the machine can read. */
static void read_environment(const char *path) {
  struct stat found;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &found) < 0) die(START_ERROR, "cannot read %s: %s", path, strerror(errno));
  char *text = calloc(1, (size_t)found.st_size + 1);
  if (!text || read(fd, text, (size_t)found.st_size) != found.st_size) die(START_ERROR, "cannot read %s", path);
  close(fd);
  clearenv();
  for (char *at = text; at < text + found.st_size; at += strlen(at) + 1) putenv(at);
}

/* A first process of a container: with it, all others go, should the pod's holder go. */
int inside(int argc, char **argv) {
  struct identity who;
  sigset_t all;
  int theirs = -1, ours = -1;
  const char reached = REACHED;
  if (write(REPORT_FD, &reached, 1) != 1) _exit(START_ERROR);
  fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
  fcntl(LIFE_FD, F_SETFD, FD_CLOEXEC);
  close(SHARE_FD);
  close_range(PROCESSES_FD + 1, ~0U, 0);
  int at = read_identity(argc, argv, 2, &who);
  if (at >= argc) die(START_ERROR, "no command after --");
  if (!who.joined) close(PROCESSES_FD);
  if (who.environment) read_environment(who.environment);
  if (who.joined) join_processes();
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  become(&who, true);
  int signals = signalfd(-1, &all, SFD_CLOEXEC);
  if (who.terminal) ours = open_terminal(geteuid(), getegid(), &theirs);
  pid_t program = fork();
  if (program < 0) die(START_ERROR, "cannot fork: %s", strerror(errno));
  if (program == 0) {
    if (who.terminal) take_terminal(theirs);
    else setsid();
    start_program(&who, argv + at, REPORT_FD);
  }
  close(REPORT_FD);
  close(theirs);
  /* A signal at the holder's death would not do: bwrap, between us, may not signal another user's process. */
  attend(&(struct attended){.program = program, .signals = signals, .control = LIFE_FD, .terminal = ours, .is_patient = who.joined, .hands_on = true});
}

/* What a program that is watched begins with, and who watches it. Does not come back in the parent. */
static void begin_session(const struct identity *who) {
  sigset_t ended;
  int theirs = -1, ours = -1;
  fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  signal(SIGPIPE, SIG_IGN);
  int signals = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
  if (who->terminal) ours = open_terminal(who->user.outside, who->group.outside, &theirs);
  pid_t program = fork();
  if (program < 0) die(START_ERROR, "cannot fork: %s", strerror(errno));
  if (program == 0) {
    if (who->terminal) take_terminal(theirs);
    else setsid();
    return;
  }
  close(theirs);
  attend(&(struct attended){
    .program = program, .signals = signals, .control = CONTROL_FD, .terminal = ours, .is_patient = true, .tells_end = true});
}

/* session [--tty] [--user ID:ID --group ID:ID] -- PROGRAM...: as whoever we are; the terminal is that user's. */
int session(int argc, char **argv) {
  struct identity who;
  int at = read_identity(argc, argv, 2, &who);
  if (at >= argc) die(START_ERROR, "no command after --");
  begin_session(&who);
  who.folder = ".";
  start_program(&who, argv + at, -1);
  return START_ERROR;
}

static int open_namespace(int proc, const char *name) {
  char path[32];
  snprintf(path, sizeof path, "ns/%s", name);
  int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(START_ERROR, "the container has ended: %s", strerror(errno));
  return fd;
}

static void join_cgroup(const char *folder) {
  char path[4096], pid[16];
  snprintf(path, sizeof path, "%s/cgroup.procs", folder);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int length = snprintf(pid, sizeof pid, "%d", getpid());
  if (fd < 0 || write(fd, pid, (size_t)length) != length)
    die(START_ERROR, "cannot join the cgroup %s: %s", folder, strerror(errno));
  close(fd);
}

bool is_in_cgroup(const char *folder, int pid) {
  char path[4096];
  int one;
  bool found = false;
  snprintf(path, sizeof path, "%s/cgroup.procs", folder);
  FILE *list = fopen(path, "re");
  if (!list) return false;
  while (!found && fscanf(list, "%d", &one) == 1) found = one == pid;
  fclose(list);
  return found;
}

/* enter PID CGROUP IDENTITY... -- PROGRAM...: with every namespace of PID. */
int enter(int argc, char **argv) {
  static const char *const names[] = {"net", "ipc", "uts", "cgroup", "pid_for_children", "mnt"};
  enum { COUNT = sizeof names / sizeof *names };
  struct identity who;
  char path[64];
  int fds[COUNT];
  if (argc < 4) die(2, "usage: heddle-pause enter PID CGROUP [IDENTITY] -- PROGRAM");
  int at = read_identity(argc, argv, 4, &who);
  if (at >= argc) die(START_ERROR, "no command after --");
  /* A container's program that may trace others would find us as the machine's root, with a way to the machine's files. */
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) die(START_ERROR, "cannot be kept from being traced: %s", strerror(errno));
  snprintf(path, sizeof path, "/proc/%d", atoi(argv[2]));
  int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  /* In this order: should the process end in between, nothing can be opened below its folder. */
  if (proc < 0 || !is_in_cgroup(argv[3], atoi(argv[2]))) die(START_ERROR, "the container has ended");
  int user = open_namespace(proc, "user");
  for (int i = 0; i < COUNT; i++) fds[i] = open_namespace(proc, names[i]);
  join_cgroup(argv[3]);
  for (int i = 0; i < COUNT; i++)
    if (setns(fds[i], 0) < 0) die(START_ERROR, "cannot enter the container's %s namespace: %s", names[i], strerror(errno));
  /* From here on the container sees who we start. */
  close(proc);
  for (int i = 0; i < COUNT; i++) close(fds[i]);
  /* Comes back in a child. */
  if (who.control) begin_session(&who);
  pid_t program = who.control ? 0 : fork();
  if (program < 0) die(START_ERROR, "cannot fork: %s", strerror(errno));
  if (program == 0) {
    /* EINVAL: it is the one we are in. */
    if (setns(user, 0) < 0 && errno != EINVAL) die(START_ERROR, "cannot enter the user namespace: %s", strerror(errno));
    close(user);
    become(&who, false);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    start_program(&who, argv + at, -1);
  }
  close(user);
  int status;
  while (waitpid(program, &status, 0) < 0)
    if (errno != EINTR) return START_ERROR;
  return exit_code(status);
}
