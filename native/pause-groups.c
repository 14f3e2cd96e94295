/* Which groups a container of an image is in, other than those that runc makes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pause-groups.h"

enum { MAX_V1 = 8 };
static int opened[MAX_V1];
static int count = 0;

bool groups_open(const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/cgroup.procs", folder);
  int fd = count < MAX_V1 ? open(path, O_WRONLY | O_CLOEXEC) : -1;
  if (fd < 0) return false;
  opened[count++] = fd;
  return true;
}

bool groups_give(pid_t pid) {
  char text[32];
  int length = snprintf(text, sizeof text, "%d", pid);
  for (int i = 0; i < count; i++) {
    if (write(opened[i], text, (size_t)length) != length) return false;
    close(opened[i]);
  }
  count = 0;
  return true;
}

static bool put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  int why = errno;
  if (fd >= 0) close(fd);
  errno = why;
  return done;
}

bool groups_step_aside(void) {
  static const char *const controllers[] = {"+memory", "+cpu", "+pids"};
  if (mkdir(OWN_GROUP, 0755) < 0 && errno != EEXIST) return false;
  if (!put(OWN_GROUP "/cgroup.procs", "0")) return false;
  /* Where one does not come down to us, no limit of it is set. */
  for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++) put("/sys/fs/cgroup/cgroup.subtree_control", controllers[i]);
  return true;
}
