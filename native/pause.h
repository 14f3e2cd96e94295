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
  SHARE_FD = 6,  /* for bwrap: the PID namespace that the pod's containers share, if they do */
  PROCESSES_FD = 7, /* of `inside --look`: another container's */
};
/* Of `enter --control` and `session`: sizes of the terminal, and its end is the end of the program. */
enum { CONTROL_FD = 3 };
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
  bool own_profile; /* one that was read, instead of ours */
  bool terminal;   /* in one of its own */
  bool control;    /* CONTROL_FD is there */
  bool joined;     /* PROCESSES_FD is there */
  bool new_privileges; /* programs may gain some, as by setuid */
  unsigned long long capabilities; /* that are kept */
  const char *folder;
  const char *environment; /* a file: NAME=VALUE, each ended by NUL */
};

/* Ends with `code` and a line of words on stderr. */
_Noreturn void die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads --look, --user, --group, --groups, --unconfined, --seccomp, --new-privileges, --capabilities, --tty, --control, --cwd, --env up to "--"; the index of what follows it. */
int read_identity(int argc, char **argv, int at, struct identity *who);

/* Gives up root, every capability that is not to be kept, and the way back. With `make`, into a user namespace of its own if ids differ. */
void become(const struct identity *who, bool make);

/* Whether `pid` is one of the container's: a pid that was known once may be another program's by now. */
bool is_in_cgroup(const char *folder, int pid);

/* Refuses the system calls that change the machine or look into other processes' keys. */
void filter_system_calls(void);

/* Likewise as a file of the agent's says; read while it can be. */
void read_profile(const char *path);
void apply_profile(void);

/* The first process of a namespace that all containers of the pod are in; `base`: the first of the pod's ids, or 0 where
 * containers have the machine's; what is from argv[0] to `end` is what others see of us. */
pid_t share_processes(unsigned base, char **argv, char *end);
/* Where `oci` finds it. */
#define SHARED_WITH "HEDDLE_POD_PROCESSES"
/* A user namespace of the pod's ids. */
int open_user_namespace(unsigned base);

/* Makes a terminal in the devpts that is at /dev/pts; our end of it. */
int open_terminal(unsigned user, unsigned group, int *theirs);
/* For the program, before it starts: a session of its own on that terminal. */
void take_terminal(int fd);

struct attended {
  pid_t program;  /* leads a session of its own */
  int signals;    /* a signalfd */
  int control;    /* -1: none */
  int terminal;   /* our end; -1: none */
  bool is_patient; /* gives the program time when control ends */
  bool hands_on;  /* passes on all signals */
  bool tells_end; /* tells a terminal of the end of our input */
};

/* Ends with the program's exit code. */
_Noreturn void attend(struct attended *a);

/* Among the processes that PROCESSES_FD leads to are our children from now on; /proc shows them. */
void join_processes(void);

/* Where we are in /proc; -1: it is mounted, and shows us. */
extern int own_proc;

int hold(int argc, char **argv);
int inside(int argc, char **argv);
int enter(int argc, char **argv);
int stage(int argc, char **argv);
int session(int argc, char **argv);
int join(int argc, char **argv);
int oci(int argc, char **argv);
int look(int argc, char **argv);

#endif
