/*
 * oci --runc PROGRAM --bundle DIR --stage DIR --base ID --rootfs DIR --layer DIR [--tty 1] [--join GROUP]...: starts a container of
 * an image, and waits for its end; each GROUP, of cgroup v1, gets the container alone. What runc reads is in the bundle; what it may see of the machine is here:
 *
 *   STAGE            memory, in a mount namespace of our own: with us all mounts go
 *   STAGE/rootfs     the image's files, shared and read-only, as owned by the pod's ids; above them the container's own
 *   STAGE/users      the user namespace of the pod's ids
 *   STAGE/pids       the PID namespace of the pod, where its containers share one (SHARED_WITH names its first process)
 *   STAGE/sys        of the pod's network namespace, which the container's user namespace may not mount
 *   STAGE/mqueue     of the pod's IPC namespace, likewise
 *   /sys/fs/cgroup   cgroup2 alone, from our own cgroup down: runc makes its one below and finds no others
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pause-groups.h"
#include "pause.h"

enum { ID_COUNT = 65536, MAX_PROCESSES = 4096, PATH_BYTES = 4096, DETACHED = 1 /* OPEN_TREE_CLONE */, EMPTY_PATH = 0x1000, FROM_EMPTY = 4 };
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif

struct image {
  const char *runc, *bundle, *stage, *rootfs, *layer;
  unsigned base; /* 0: the machine's own ids */
  bool has_base;
  bool terminal; /* the container has one of its own */
};

/* As `inside` does it for a program that was never reached. */
static _Noreturn void fail(const char *format, const char *what, const char *why) {
  char words[1024] = {REACHED, FAILED};
  snprintf(words + 2, sizeof words - 2, format, what, why);
  if (write(REPORT_FD, words, strlen(words)) < 0) _exit(START_ERROR);
  _exit(START_ERROR);
}

static struct image read_image(int argc, char **argv) {
  struct image image = {0};
  for (int i = 2; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "--runc")) image.runc = value;
    else if (!strcmp(argv[i], "--bundle")) image.bundle = value;
    else if (!strcmp(argv[i], "--stage")) image.stage = value;
    else if (!strcmp(argv[i], "--rootfs")) image.rootfs = value;
    else if (!strcmp(argv[i], "--layer")) image.layer = value;
    else if (!strcmp(argv[i], "--tty")) image.terminal = !strcmp(value, "1");
    else if (!strcmp(argv[i], "--base")) image.base = (unsigned)strtoul(value, NULL, 10), image.has_base = true;
    else if (!strcmp(argv[i], "--join")) {
      if (!groups_open(value)) fail("cannot open the cgroup %s: %s", value, strerror(errno));
    } else die(2, "unknown flag %s", argv[i]);
  }
  if (!image.runc || !image.bundle || !image.stage || !image.rootfs || !image.layer || !image.has_base)
    die(2, "usage: heddle-pause oci --runc PROGRAM --bundle DIR --stage DIR --base ID --rootfs DIR --layer DIR [--tty 1]");
  return image;
}

static const char *staged(const struct image *image, const char *name) {
  static char paths[4][PATH_BYTES];
  static int turn = 0;
  char *path = paths[turn++ % 4];
  snprintf(path, PATH_BYTES, "%s/%s", image->stage, name);
  return path;
}

static void put_mount(const char *kind, const char *at, unsigned long flags, const char *options) {
  mkdir(at, 0755);
  if (mount(kind, at, kind, flags, options) < 0) fail("cannot mount %s: %s", at, strerror(errno));
}

/* Where cgroup2 alone is mounted there already, the kernel refuses to mount it on itself. */
static void mount_cgroup(const char *at) {
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("cgroup2", at, "cgroup2", flags, NULL) == 0) return;
  if (errno != EBUSY || umount2(at, MNT_DETACH) < 0) fail("cannot mount cgroup2 on %s: %s", at, strerror(errno));
  put_mount("cgroup2", at, flags, NULL);
}

static void write_ids(pid_t pid, const char *name, unsigned base) {
  char path[64], text[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int length = snprintf(text, sizeof text, "0 %u %d\n", base, ID_COUNT);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, (size_t)length) != length) fail("cannot write %s: %s", path, strerror(errno));
  close(fd);
}

/*
 * The kernel holds all users of a namespace together to the limit of processes of whoever made it, unless that was
 * root: a container's root can become any user of its own, each of whom has a limit of processes to himself.
 */
static bool make_limited_namespace(unsigned base) {
  struct rlimit processes = {MAX_PROCESSES, MAX_PROCESSES};
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct kept[2] = {{.effective = 1 << CAP_SYS_ADMIN, .permitted = 1 << CAP_SYS_ADMIN}};
  return setrlimit(RLIMIT_NPROC, &processes) == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 &&
         setresgid(base, base, base) == 0 && setresuid(base, base, base) == 0 && syscall(SYS_capset, &header, kept) == 0 &&
         unshare(CLONE_NEWUSER) == 0;
}

/* A user namespace of the pod's ids, of the mounts and of the container. */
int open_user_namespace(unsigned base) {
  int ready[2];
  char path[64], byte;
  if (pipe2(ready, O_CLOEXEC) < 0) fail("%s: %s", "pipe", strerror(errno));
  pid_t child = fork();
  if (child < 0) fail("%s: %s", "fork", strerror(errno));
  if (child == 0) {
    /* Now: a change of users would take it back. */
    if (!make_limited_namespace(base) || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) fail("cannot make a %s namespace%s", "user", ", which pods of images need");
  close(ready[0]);
  write_ids(child, "uid_map", base);
  write_ids(child, "gid_map", base);
  snprintf(path, sizeof path, "/proc/%d/ns/user", child);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open %s: %s", path, strerror(errno));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return fd;
}

/* What root owns on disk, the pod's root owns at `at`; likewise the others. */
static void mount_mapped(const char *from, const char *at, int users) {
  struct mount_attr owners = {.attr_set = MOUNT_ATTR_RDONLY};
  if (users >= 0) owners.attr_set |= MOUNT_ATTR_IDMAP, owners.userns_fd = (unsigned)users;
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, from, DETACHED | O_CLOEXEC);
  if (tree < 0) fail("cannot open the image's files, %s: %s", from, strerror(errno));
  if (syscall(SYS_mount_setattr, tree, "", EMPTY_PATH, &owners, sizeof owners) < 0)
    fail("cannot map the owners of %s to the pod's: %s (Linux 5.19 or later, and a file system that has mapped mounts, "
         "are needed)", from, strerror(errno));
  mkdir(at, 0755);
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, at, FROM_EMPTY) < 0) fail("cannot mount %s: %s", at, strerror(errno));
  close(tree);
}

/* A namespace stays as long as it is mounted somewhere. */
static void mount_namespace(int users, const char *at) {
  char path[64];
  int file = open(at, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  snprintf(path, sizeof path, "/proc/self/fd/%d", users);
  if (file < 0 || mount(path, at, NULL, MS_BIND, NULL) < 0) fail("cannot mount %s: %s", at, strerror(errno));
  close(file);
  close(users);
}

static int open_shared(const char *pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open %s: %s", path, strerror(errno));
  return fd;
}

static void make_stage(const struct image *image) {
  char options[PATH_BYTES * 3];
  if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
    fail("cannot make a %s namespace: %s", "mount", strerror(errno));
  mount_cgroup("/sys/fs/cgroup");
  if (!groups_step_aside()) fail("cannot join the cgroup %s: %s", OWN_GROUP, strerror(errno));
  /* Opened before they might disappear behind the stage. */
  int layer = open(image->layer, O_PATH | O_DIRECTORY | O_CLOEXEC), rootfs = open(image->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (layer < 0 || rootfs < 0) fail("cannot open %s: %s", layer < 0 ? image->layer : image->rootfs, strerror(errno));
  char layer_path[64], rootfs_path[64];
  snprintf(layer_path, sizeof layer_path, "/proc/self/fd/%d", layer);
  snprintf(rootfs_path, sizeof rootfs_path, "/proc/self/fd/%d", rootfs);
  mkdir(image->stage, 0700);
  put_mount("tmpfs", image->stage, MS_NOSUID | MS_NODEV, "mode=0755");
  const char *shared = getenv(SHARED_WITH);
  int users = !image->base ? -1 : shared ? open_shared(shared, "user") : open_user_namespace(image->base);
  mount_mapped(rootfs_path, staged(image, "image"), users);
  if (users >= 0) mount_namespace(users, staged(image, "users"));
  if (shared) mount_namespace(open_shared(shared, "pid"), staged(image, "pids"));
  /* Names without characters that options of mounts give a meaning. */
  mkdir(staged(image, "layer"), 0700);
  if (mount(layer_path, staged(image, "layer"), NULL, MS_BIND, NULL) < 0) fail("cannot mount %s: %s", image->layer, strerror(errno));
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", staged(image, "image"),
           staged(image, "layer"), staged(image, "layer"));
  put_mount("overlay", staged(image, "rootfs"), MS_NODEV, options);
  put_mount("sysfs", staged(image, "sys"), (image->base ? MS_RDONLY : 0) | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  put_mount("mqueue", staged(image, "mqueue"), MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  close(layer);
  close(rootfs);
}

static int run_runc(const struct image *image, char *const rest[]) {
  char *argv[24] = {(char *)image->runc, "--root", (char *)staged(image, "state"), "--log", (char *)staged(image, "log")};
  int count = 5, status;
  while (*rest) argv[count++] = *rest++;
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    struct rlimit processes = {MAX_PROCESSES, MAX_PROCESSES};
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* Handed on to the container; runc itself may not be allowed to set it there. */
    if (setrlimit(RLIMIT_NPROC, &processes) < 0) fail("%s: %s", "setrlimit", strerror(errno));
    execvp(argv[0], argv);
    fail(errno == ENOENT ? "there is no %s on this machine: install the Debian package runc (%s)" : "cannot start %s: %s", image->runc,
         strerror(errno));
  }
  if (pid < 0) fail("cannot start %s: %s", image->runc, strerror(errno));
  /* START_ERROR: the words are said. */
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return START_ERROR;
  return WIFEXITED(status) ? WEXITSTATUS(status) : START_ERROR;
}

/* The last `msg="…"` of runc's log, without what it says every time. */
static _Noreturn void fail_as_runc_says(const struct image *image) {
  char log[8192], *words = NULL, *write_at;
  FILE *file = fopen(staged(image, "log"), "re");
  size_t length = file ? fread(log, 1, sizeof log - 1, file) : 0;
  log[length] = 0;
  for (char *at = log; (at = strstr(at, "level=error msg=\"")); at++) words = at + strlen("level=error msg=\"");
  if (!words) fail("%s could not start the container%s", image->runc, "");
  write_at = words;
  char *from = words;
  while (*from && *from != '"' && *from != '\n') {
    if (*from == '\\' && from[1]) from++;
    *write_at++ = *from++;
  }
  *write_at = 0;
  for (char *colon; (colon = strstr(words, "container process: ")) || (colon = strstr(words, "container init: "));)
    words = strchr(colon, ':') + 2;
  fail("%s%s", words, "");
}

/* runc makes the terminal in the container's devpts, and sends our end of it to this socket (its --console-socket). */
static int listen_for_terminal(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= sizeof address.sun_path) errno = ENAMETOOLONG;
  else if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0) return fd;
  fail("cannot listen at %s: %s", path, strerror(errno));
}

/* It has been sent once runc has made the container. */
static int receive_terminal(int listener) {
  char name[256], space[CMSG_SPACE(sizeof(int))];
  struct iovec part = {name, sizeof name};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  int terminal, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0 || recvmsg(fd, &message, MSG_CMSG_CLOEXEC) < 0) fail("cannot take the container's %s: %s", "terminal", strerror(errno));
  const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS || head->cmsg_len < CMSG_LEN(sizeof terminal))
    fail("cannot take the container's %s: %s", "terminal", "runc sent none");
  memcpy(&terminal, CMSG_DATA(head), sizeof terminal);
  close(fd);
  close(listener);
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  return terminal;
}

static pid_t create(const struct image *image, int *terminal) {
  char text[32] = "", line[64];
  const char *pid_file = staged(image, "pid"), *console = staged(image, "console");
  int listener = image->terminal ? listen_for_terminal(console) : -1;
  char *const plain[] = {"create", "--bundle", (char *)image->bundle, "--pid-file", (char *)pid_file, "box", NULL};
  char *const with_terminal[] = {"create", "--bundle", (char *)image->bundle, "--pid-file", (char *)pid_file,
                                 "--console-socket", (char *)console, "box", NULL};
  int code = run_runc(image, image->terminal ? with_terminal : plain);
  if (code == START_ERROR) _exit(code);
  if (code != 0) fail_as_runc_says(image);
  *terminal = image->terminal ? receive_terminal(listener) : -1;
  int fd = open(pid_file, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) fail("cannot read %s: %s", pid_file, strerror(errno));
  close(fd);
  int length = snprintf(line, sizeof line, "{\"child-pid\":%d}\n", atoi(text));
  if (write(INFO_FD, line, (size_t)length) != length) _exit(START_ERROR);
  close(INFO_FD);
  return atoi(text);
}

/* Its exit code; should the pod's holder go, it goes as well. */
static int wait_for(pid_t first, int signals) {
  struct pollfd polls[] = {{signals, POLLIN, 0}, {LIFE_FD, 0, 0}};
  for (;;) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == first) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    struct signalfd_siginfo info;
    if (poll(polls, 2, -1) < 0) continue;
    if (polls[1].revents) {
      kill(first, SIGKILL);
      polls[1].fd = -1;
    }
    if (polls[0].revents && read(signals, &info, sizeof info) < 0) continue;
  }
}

int oci(int argc, char **argv) {
  struct image image = read_image(argc, argv);
  char *const start[] = {"start", "box", NULL};
  const char reached = REACHED;
  sigset_t ended;
  for (int fd = INFO_FD; fd <= LIFE_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  /* runc leaves the container to whoever is nearest. */
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) fail("%s: %s", "subreaper", strerror(errno));
  umask(022);
  make_stage(&image);
  int terminal;
  pid_t first = create(&image, &terminal);
  /* Until then it waits. */
  if (!groups_give(first)) {
    int why = errno;
    kill(first, SIGKILL);
    fail("cannot put the container into its %s: %s", "cgroups", strerror(why));
  }
  if (run_runc(&image, start) != 0) {
    kill(first, SIGKILL);
    fail_as_runc_says(&image);
  }
  if (write(REPORT_FD, &reached, 1) != 1) _exit(START_ERROR);
  close(REPORT_FD);
  int signals = signalfd(-1, &ended, SFD_CLOEXEC);
  if (image.terminal) attend(&(struct attended){.program = first, .signals = signals, .control = LIFE_FD, .terminal = terminal});
  /* Its output ends when the container's does. */
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
  return wait_for(first, signals);
}
