/* Who looks at a container's streams as they come: frames as src/podhost/exec-protocol.ts has them. */
#ifndef PAUSE_ATTACHED_H
#define PAUSE_ATTACHED_H
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum { MAX_ATTACHED = 32, ATTACHED_POLLS = 2 * MAX_ATTACHED };
enum { FRAME_STDIN = 1, FRAME_STDIN_END = 2, FRAME_STDOUT = 3, FRAME_STDERR = 4, FRAME_EXIT = 5, FRAME_RESIZE = 7 };

/* What a container takes. */
struct source {
  int in;      /* our end of its standard input; -1: none, or at its end */
  int control; /* where sizes of its terminal go; -1: it has ended */
  bool once;   /* its input ends with the first who gives some */
  bool tty;
};

/* Takes `fd` over; false when there are too many. */
bool attached_add(int fd, struct source *source, bool gives_input);
/* Something that the container said. */
void attached_hear(const struct source *source, int type, const char *text, size_t length);
/* Somebody is behind: the container is to wait. */
bool attached_is_behind(const struct source *source);
/* The container has ended: all are told once they have read what it said. */
void attached_end(const struct source *source);
/* ATTACHED_POLLS of them. */
void attached_polls(struct pollfd *polls);
void attached_serve(const struct pollfd *polls);
/* Milliseconds until somebody's patience ends; -1: nobody waits. */
int attached_timeout(void);

#endif
