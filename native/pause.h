/* Parts of heddle-pause. */
#ifndef PAUSE_H
#define PAUSE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Descriptors that a container's first process is started with. */
enum {
  INFO_FD = 3,   /* bwrap says the pid of what it started */
  REPORT_FD = 4, /* we say how far we came: REACHED, then nothing, or FAILED and words */
  LIFE_FD = 5,   /* ends when the pod's holder does: the container goes with it */
};
enum { REACHED = 'S', FAILED = 'E' };
/* What runtimes answer for a program that could not be started. */
enum { START_ERROR = 128 };

enum { MAX_GROUPS = 32 };

/* An id as the container sees it, and as the kernel and the host's files know it. */
struct id_pair {
  unsigned inside, outside;
};

struct identity {
  struct id_pair user, group, groups[MAX_GROUPS];
  size_t group_count;
  bool unconfined; /* no filter of system calls */
  const char *folder;
  const char *environment; /* a file: NAME=VALUE, each ended by NUL */
};

/* Ends with `code` and a line of words on stderr. */
_Noreturn void die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads --user, --group, --groups, --unconfined, --cwd, --env up to "--"; the index of what follows it. */
int read_identity(int argc, char **argv, int at, struct identity *who);

/* Gives up root, every capability and the way back. With `make`, into a user namespace of its own if ids differ. */
void become(const struct identity *who, bool make);

/* Refuses the system calls that change the machine or look into other processes' keys. */
void filter_system_calls(void);

int hold(int argc, char **argv);
int inside(int argc, char **argv);
int enter(int argc, char **argv);

#endif
