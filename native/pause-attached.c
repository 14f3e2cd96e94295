#include "pause-attached.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Bytes of input that wait for the container, and of output that wait for who looks on. */
enum { IN_BYTES = 16 << 10, OUT_MAX_BYTES = 512 << 10 };
/* Who takes nothing for so long holds nobody up any more; and how often that is looked after. */
enum { STUCK_MS = 30000, LOOK_MS = 1000 };
enum { HEAD_BYTES = 5, SIZE_BYTES = 4 };

struct attached {
  int fd; /* -1: free */
  struct source *source; /* NULL: it has ended */
  bool gives_input, is_ending;
  unsigned char head[HEAD_BYTES], size[SIZE_BYTES];
  size_t head_length, size_length, left; /* of the frame that is being read */
  size_t from, to;                       /* of `in` that is not dealt with */
  char in[IN_BYTES];
  char *out;
  size_t out_length, out_capacity;
  long long progress; /* ms; when the last of the output was taken */
};

static struct attached *all[MAX_ATTACHED];

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void end_input(struct source *source) {
  if (source->in >= 0) close(source->in);
  source->in = -1;
}

static void drop(int slot) {
  struct attached *a = all[slot];
  if (a->source && a->gives_input && a->source->once && !a->source->tty) end_input(a->source);
  close(a->fd);
  free(a->out);
  free(a);
  all[slot] = NULL;
}

bool attached_add(int fd, struct source *source, bool gives_input) {
  for (int i = 0; i < MAX_ATTACHED; i++) {
    if (all[i]) continue;
    if (!(all[i] = calloc(1, sizeof *all[i]))) return false;
    all[i]->fd = fd;
    all[i]->source = source;
    all[i]->gives_input = gives_input;
    all[i]->progress = now_ms();
    return true;
  }
  return false;
}

static bool flush(struct attached *a) {
  ssize_t n = send(a->fd, a->out, a->out_length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  a->out_length -= (size_t)n;
  memmove(a->out, a->out + n, a->out_length);
  if (n > 0) a->progress = now_ms();
  return true;
}

static bool put(struct attached *a, int type, const char *text, size_t length) {
  size_t need = a->out_length + HEAD_BYTES + length;
  if (need > OUT_MAX_BYTES) return false;
  if (need > a->out_capacity) {
    char *grown = realloc(a->out, need);
    if (!grown) return false;
    a->out = grown;
    a->out_capacity = need;
  }
  if (a->out_length == 0) a->progress = now_ms();
  unsigned char head[HEAD_BYTES] = {(unsigned char)type, (unsigned char)(length >> 24), (unsigned char)(length >> 16),
                                    (unsigned char)(length >> 8), (unsigned char)length};
  memcpy(a->out + a->out_length, head, HEAD_BYTES);
  if (length > 0) memcpy(a->out + a->out_length + HEAD_BYTES, text, length);
  a->out_length = need;
  return flush(a);
}

void attached_hear(const struct source *source, int type, const char *text, size_t length) {
  for (int i = 0; i < MAX_ATTACHED; i++)
    if (all[i] && all[i]->source == source && !all[i]->is_ending && !put(all[i], type, text, length)) drop(i);
}

bool attached_is_behind(const struct source *source) {
  for (int i = 0; i < MAX_ATTACHED; i++)
    if (all[i] && all[i]->source == source && all[i]->out_length > 0) return true;
  return false;
}

static void farewell(int slot) {
  all[slot]->is_ending = true;
  if (!put(all[slot], FRAME_EXIT, "0", 1) || all[slot]->out_length == 0) drop(slot);
}

void attached_end(const struct source *source) {
  for (int i = 0; i < MAX_ATTACHED; i++) {
    if (!all[i] || all[i]->source != source) continue;
    all[i]->source = NULL;
    if (!all[i]->is_ending) farewell(i);
  }
}

static void resize(struct attached *a) {
  char message[1 + SIZE_BYTES] = {'R'};
  memcpy(message + 1, a->size, SIZE_BYTES);
  if (a->source && a->source->tty && a->source->control >= 0 && write(a->source->control, message, sizeof message) < 0)
    return;
}

/* Of the frame's payload, as much as can be dealt with now; 0: the container has no room. */
static size_t take_payload(struct attached *a, const char *data, size_t length) {
  if (a->head[0] == FRAME_RESIZE && a->size_length < SIZE_BYTES) {
    a->size[a->size_length++] = (unsigned char)*data;
    if (a->size_length == SIZE_BYTES) resize(a);
    return 1;
  }
  if (a->head[0] != FRAME_STDIN || !a->gives_input || !a->source || a->source->in < 0) return length;
  ssize_t n = write(a->source->in, data, length);
  if (n > 0) return (size_t)n;
  if (errno == EAGAIN || errno == EINTR) return 0;
  end_input(a->source);
  return length;
}

/* As the field does it: input that ends is the container's end of input, or else the end of this look at it. */
static bool input_ended(struct attached *a) {
  if (!a->gives_input || !a->source) return true;
  if (!a->source->once) return false;
  if (!a->source->tty) end_input(a->source);
  return true;
}

/* False when it is over. */
static bool take_input(struct attached *a) {
  while (a->from < a->to) {
    if (a->head_length < HEAD_BYTES) {
      a->head[a->head_length++] = (unsigned char)a->in[a->from++];
      if (a->head_length < HEAD_BYTES) continue;
      a->left = (size_t)a->head[1] << 24 | (size_t)a->head[2] << 16 | (size_t)a->head[3] << 8 | a->head[4];
      a->size_length = 0;
    } else {
      size_t here = a->to - a->from < a->left ? a->to - a->from : a->left;
      size_t used = take_payload(a, a->in + a->from, here);
      if (used == 0) return true;
      a->from += used;
      a->left -= used;
    }
    if (a->left > 0) continue;
    a->head_length = 0;
    if (a->head[0] == FRAME_STDIN_END && !input_ended(a)) return false;
  }
  return true;
}

static bool read_input(struct attached *a) {
  if (a->from == a->to) {
    ssize_t n = recv(a->fd, a->in, sizeof a->in, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) return false;
    a->from = 0;
    a->to = (size_t)n;
  }
  return true;
}

void attached_polls(struct pollfd *polls) {
  for (int i = 0; i < MAX_ATTACHED; i++) {
    const struct attached *a = all[i];
    bool waits = a && a->from < a->to;
    short events = (short)(a ? (waits ? 0 : POLLIN) | (a->out_length > 0 ? POLLOUT : 0) : 0);
    polls[2 * i] = (struct pollfd){a ? a->fd : -1, events, 0};
    polls[2 * i + 1] = (struct pollfd){waits && a->source ? a->source->in : -1, POLLOUT, 0};
  }
}

void attached_serve(const struct pollfd *polls) {
  for (int i = 0; i < MAX_ATTACHED; i++) {
    struct attached *a = all[i];
    if (!a || a->fd != polls[2 * i].fd) continue;
    bool good = true;
    if (polls[2 * i].revents & POLLOUT) good = flush(a);
    bool gone = polls[2 * i].revents & (POLLHUP | POLLERR);
    /* What it said before it went is taken, if there is room. */
    if (a->from < a->to) good &= !gone;
    else if (good && (gone || polls[2 * i].revents & POLLIN)) good = read_input(a);
    if (!good || (a->is_ending && a->out_length == 0)) drop(i);
    else if (!take_input(a)) farewell(i);
    else if (a->out_length > 0 && now_ms() - a->progress > STUCK_MS) drop(i);
  }
}

int attached_timeout(void) {
  for (int i = 0; i < MAX_ATTACHED; i++)
    if (all[i] && all[i]->out_length > 0) return LOOK_MS;
  return -1;
}
