/*
 * Who stays with a program until it ends: hands on signals, carries bytes between the program's terminal and our own
 * standard input and output, changes the terminal's size, and ends the program when whoever asked for it has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "pause.h"

/* Time for a program to end once its terminal is gone, and for the last words of one that has ended. */
enum { GRACE_MS = 2000, QUIET_MS = 100 };
/* A message about the terminal's size: 'R', columns, rows, each of two bytes, big endian. */
enum { SIZE_BYTES = 5 };

struct buffer {
  char data[16 << 10];
  size_t from, to;
};

struct state {
  struct buffer in, out;
  int input, output;
  int code;           /* of the program; -1: it runs */
  long long deadline; /* 0: nobody has gone */
  long long idle;     /* until then the terminal is left alone */
  unsigned char size[SIZE_BYTES];
  size_t size_length;
};

int open_terminal(unsigned user, unsigned group, int *theirs) {
  /* Whoever opens it owns it. */
  setfsgid(group);
  setfsuid(user);
  int unlocked = 0, ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (ours < 0 || ioctl(ours, TIOCSPTLCK, &unlocked) < 0 ||
      (*theirs = ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
    die(START_ERROR, "cannot make a terminal: /dev/ptmx of the container: error %d", errno);
  setfsuid(geteuid());
  setfsgid(getegid());
  return ours;
}

void take_terminal(int fd) {
  setsid();
  if (ioctl(fd, TIOCSCTTY, 0) < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
    die(START_ERROR, "cannot take the terminal: error %d", errno);
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool is_empty(const struct buffer *buffer) { return buffer->from == buffer->to; }

/* False at the end of what can be read. */
static bool fill(struct buffer *buffer, int fd) {
  ssize_t n = read(fd, buffer->data, sizeof buffer->data);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  buffer->from = 0;
  buffer->to = (size_t)n;
  return true;
}

/* False when nobody takes it any more. */
static bool drain(struct buffer *buffer, int fd) {
  ssize_t n = write(fd, buffer->data + buffer->from, buffer->to - buffer->from);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0) return buffer->from = buffer->to = 0, false;
  buffer->from += (size_t)n;
  return true;
}

static void close_terminal(struct attended *a) {
  if (a->terminal >= 0) close(a->terminal);
  a->terminal = -1;
}

/* What a program reads as the end of its input, if it reads lines at all. */
static void end_of_input(const struct attended *a, struct state *s) {
  struct termios mode;
  s->input = -1;
  if (!a->tells_end || tcgetattr(a->terminal, &mode) < 0 || !(mode.c_lflag & ICANON)) return;
  s->in = (struct buffer){.to = 1, .data = {(char)mode.c_cc[VEOF]}};
}

static void read_control(struct attended *a, struct state *s) {
  ssize_t n = read(a->control, s->size + s->size_length, SIZE_BYTES - s->size_length);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) {
    const unsigned char *at = s->size;
    if ((s->size_length += (size_t)n) < SIZE_BYTES) return;
    struct winsize size = {.ws_col = (uint16_t)(at[1] << 8 | at[2]), .ws_row = (uint16_t)(at[3] << 8 | at[4])};
    if (a->terminal >= 0 && at[0] == 'R') ioctl(a->terminal, TIOCSWINSZ, &size);
    s->size_length = 0;
    return;
  }
  if (!a->is_patient) {
    kill(a->program, SIGKILL);
    _exit(128 + SIGKILL);
  }
  /* The kernel tells the program of the end of its terminal by the same signal. */
  a->control = -1;
  s->input = -1;
  close_terminal(a);
  s->deadline = now_ms() + GRACE_MS;
  kill(-a->program, SIGHUP);
  kill(-a->program, SIGCONT);
}

/* All that have ended. Of a program that nobody waits for, its group goes along, as long as its number is its own. */
static void reap(const struct attended *a, struct state *s) {
  int status;
  siginfo_t info = {0};
  if (s->deadline && waitid(P_PID, (id_t)a->program, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
    kill(-a->program, SIGKILL);
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    if (pid == a->program) s->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void read_signal(const struct attended *a, struct state *s) {
  struct signalfd_siginfo info;
  if (read(a->signals, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGCHLD) reap(a, s);
  else if (a->hands_on && info.ssi_signo != SIGPIPE) kill(a->program, (int)info.ssi_signo);
}

static int patience(const struct attended *a, const struct state *s) {
  if (s->code >= 0 && is_empty(&s->out)) return a->terminal >= 0 ? QUIET_MS : 0;
  if (s->idle) return QUIET_MS;
  if (!s->deadline) return -1;
  long long left = s->deadline - now_ms();
  return left > 0 ? (int)left : 0;
}

static void carry(struct attended *a, struct state *s, const struct pollfd *polls) {
  if (polls[2].revents && !fill(&s->in, 0)) end_of_input(a, s);
  if (polls[3].revents & (POLLIN | POLLHUP | POLLERR) && is_empty(&s->out) && !fill(&s->out, a->terminal)) {
    /* Nobody has the other end: all that was said has been read. */
    if (s->code >= 0) close_terminal(a);
    /* The program may open it again. */
    else s->idle = now_ms() + QUIET_MS;
  }
  if (polls[3].revents & POLLOUT && a->terminal >= 0) drain(&s->in, a->terminal);
  if (polls[4].revents && !drain(&s->out, 1)) s->output = -1;
  if (s->output < 0) s->out = (struct buffer){0};
}

_Noreturn void attend(struct attended *a) {
  static struct state s = {.input = 0, .output = 1, .code = -1};
  if (a->terminal < 0) s.input = -1;
  else
    for (int fd = 0; fd < 2; fd++) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  for (;;) {
    if (s.idle && now_ms() >= s.idle) s.idle = 0;
    short events = s.idle ? 0 : (short)((is_empty(&s.out) ? POLLIN : 0) | (is_empty(&s.in) ? 0 : POLLOUT));
    struct pollfd polls[] = {
      {a->signals, POLLIN, 0},
      {a->control, POLLIN, 0},
      {is_empty(&s.in) ? s.input : -1, POLLIN, 0},
      {events ? a->terminal : -1, events, 0},
      {is_empty(&s.out) ? -1 : s.output, POLLOUT, 0},
    };
    int found = poll(polls, sizeof polls / sizeof *polls, patience(a, &s));
    if (found < 0) continue;
    if (found == 0 && s.code >= 0 && is_empty(&s.out)) _exit(s.code);
    if (s.deadline && now_ms() >= s.deadline) {
      kill(-a->program, SIGKILL);
      kill(a->program, SIGKILL);
      _exit(128 + SIGHUP);
    }
    if (polls[0].revents) read_signal(a, &s);
    carry(a, &s, polls);
    if (polls[1].revents) read_control(a, &s);
  }
}
