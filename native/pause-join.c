/*
 * join [--oom SCORE] GROUP... -- PROGRAM...: becomes PROGRAM, in these groups (folders of hierarchies of cgroup v1; that
 * of cgroup2 is whoever's that starts us) and with that adjustment of its score when memory is short.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pause.h"

static bool put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  int why = errno;
  if (fd >= 0) close(fd);
  errno = why;
  return done;
}

int join(int argc, char **argv) {
  char path[4096];
  int at = 2;
  if (at + 1 < argc && !strcmp(argv[at], "--oom")) {
    /* Below what we began with is for CAP_SYS_RESOURCE alone: the agent has said that it has not got it. */
    if (!put("/proc/self/oom_score_adj", argv[at + 1]) && errno != EACCES)
      die(START_ERROR, "cannot set the score of %s for when memory is short: %s", argv[at + 1], strerror(errno));
    at += 2;
  }
  for (; at < argc && strcmp(argv[at], "--"); at++) {
    snprintf(path, sizeof path, "%s/cgroup.procs", argv[at]);
    if (!put(path, "0")) die(START_ERROR, "cannot join the cgroup %s: %s", argv[at], strerror(errno));
  }
  if (++at >= argc) die(2, "usage: heddle-pause join [--oom SCORE] GROUP... -- PROGRAM...");
  execvp(argv[at], argv + at);
  die(START_ERROR, "cannot start %s: %s", argv[at], strerror(errno));
}
