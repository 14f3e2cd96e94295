/*
 * Parts of volumes for a container, and what is mounted inside of them. The pod's programs may write in these
 * volumes while we work: every path in one is opened below the volume's folder, never by name a second time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

/* <sys/mount.h> and <linux/mount.h> do not go together. */
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
enum { REC = 16384, SLAVE = 1 << 19, NOSUID = 2, NODEV = 4, CLONE_TREE = 1, EMPTY_FROM = 4, EMPTY_TO = 64 };

static int below(int folder, const char *path, unsigned long long resolve) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve};
  return (int)syscall(SYS_openat2, folder, *path ? path : ".", &how, sizeof how);
}

/* With the mode and the owner of the folder it is made in. */
static int make_folder(int parent, const char *name) {
  struct stat like;
  if (mkdirat(parent, name, 0700) < 0) return -1;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat(parent, &like) < 0 || fchown(fd, like.st_uid, like.st_gid) < 0 || fchmod(fd, like.st_mode & 07777) < 0)
    return -1;
  return fd;
}

/* What is at `path` below `folder`, folders that are missing made; -1: errno says why. */
static int find_or_make(int folder, const char *path, unsigned long long resolve) {
  char text[4096], *rest = NULL;
  int at = below(folder, path, resolve);
  if (at >= 0 || errno != ENOENT) return at;
  if ((size_t)snprintf(text, sizeof text, "%s", path) >= sizeof text) return errno = ENAMETOOLONG, -1;
  at = fcntl(folder, F_DUPFD_CLOEXEC, 0);
  for (char *name = strtok_r(text, "/", &rest); name && at >= 0; name = strtok_r(NULL, "/", &rest)) {
    if (!strcmp(name, ".")) continue;
    /* From the top each time: a link on the way may lead elsewhere in the volume. */
    char so_far[4096];
    snprintf(so_far, sizeof so_far, "%.*s", (int)(name + strlen(name) - text), path);
    int next = below(folder, so_far, resolve);
    if (next < 0 && errno == ENOENT) next = make_folder(at, name);
    close(at);
    at = next;
  }
  return at;
}

static int open_folder(const char *path) {
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) die(START_ERROR, "cannot open %s: %s", path, strerror(errno));
  return fd;
}

/* A mount of what is at `path` in the volume `root`, at no place yet. */
static int take(const char *root, const char *path, const char *how, struct stat *kind) {
  struct mount_attr attributes = {.attr_set = how[1] == 'o' ? MOUNT_ATTR_RDONLY : 0};
  const char *base = strchr(how, ',');
  /* Of the machine it may be a file. */
  int folder = *path ? open_folder(root) : -1, at = *path ? find_or_make(folder, path, 0) : open(root, O_PATH | O_CLOEXEC);
  if (at < 0 || fstat(at, kind) < 0) die(START_ERROR, "failed to prepare subPath \"%s\": %s", path, strerror(errno));
  int tree = (int)syscall(SYS_open_tree, at, "", CLONE_TREE | O_CLOEXEC | AT_EMPTY_PATH);
  if (tree < 0) die(START_ERROR, "cannot take \"%s\" of a volume: %s", path, strerror(errno));
  if (base) {
    attributes.attr_set |= MOUNT_ATTR_IDMAP;
    attributes.userns_fd = (unsigned)open_user_namespace((unsigned)strtoul(base + 1, NULL, 10));
  }
  if (attributes.attr_set && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
    die(START_ERROR, base ? "cannot map the owners of %s to the pod's: %s (its file system has no mapped mounts)" : "cannot make %s read-only: %s",
        root, strerror(errno));
  if (base) close((int)attributes.userns_fd);
  if (folder >= 0) close(folder);
  close(at);
  return tree;
}

static void put(int tree, int place, const char *name) {
  if (syscall(SYS_move_mount, tree, "", place, "", EMPTY_FROM | EMPTY_TO) < 0)
    die(START_ERROR, "cannot mount at \"%s\": %s", name, strerror(errno));
  close(tree);
  close(place);
}

static int new_place(int folder, const char *name, const struct stat *kind) {
  if (S_ISDIR(kind->st_mode)) return find_or_make(folder, name, RESOLVE_NO_SYMLINKS);
  char parent[4096];
  int above = folder, made;
  const char *last = strrchr(name, '/');
  if (last) {
    snprintf(parent, sizeof parent, "%.*s", (int)(last - name), name);
    above = find_or_make(folder, parent, RESOLVE_NO_SYMLINKS);
  }
  made = openat(above, last ? last + 1 : name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
  if (made >= 0) close(made);
  return below(folder, name, RESOLVE_NO_SYMLINKS);
}

/*
 * stage FOLDER [NAME ROOT PATH ro|rw[,BASE]]... -- PROGRAM...: what is at PATH of each volume ROOT appears as FOLDER/NAME, to
 * PROGRAM alone, its owners as BASE plus what they are. A NAME may lie within an earlier one.
 * stage --here FOLDER ... --: to all, until FOLDER is unmounted; no program.
 */
int stage(int argc, char **argv) {
  int here = argc > 2 && !strcmp(argv[2], "--here");
  argc -= here;
  argv += here;
  if (argc < 5) die(2, "usage: heddle-pause stage FOLDER [NAME ROOT PATH ro|rw]... -- PROGRAM");
  if ((!here && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, REC | SLAVE, NULL) < 0)) ||
      mount("heddle", argv[2], "tmpfs", NOSUID | NODEV, "mode=0755") < 0)
    die(START_ERROR, "cannot make a place for volumes at %s: %s", argv[2], strerror(errno));
  umask(0);
  int folder = open_folder(argv[2]), at = 3;
  for (; at + 4 < argc && strcmp(argv[at], "--"); at += 4) {
    struct stat kind;
    int tree = take(argv[at + 1], argv[at + 2], argv[at + 3], &kind);
    int place = new_place(folder, argv[at], &kind);
    if (place < 0) die(START_ERROR, "no place to mount at \"%s\": %s", argv[at], strerror(errno));
    put(tree, place, argv[at]);
  }
  close(folder);
  if (here) return 0;
  if (at + 1 >= argc) die(2, "no program after --");
  execvp(argv[at + 1], argv + at + 1);
  die(START_ERROR, "cannot start %s: %s", argv[at + 1], strerror(errno));
}
