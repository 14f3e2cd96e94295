/*
 * The pod's first process. It listens on a socket that only root reaches; whoever connects is told all it knows
 * and then every change, in lines:
 *
 *   made ID PID START            runs; PID is its first process, START in ms since 1970
 *   ended ID CODE START END STARTED WORDS   STARTED 0: the program was never reached, WORDS say why
 *   ready                        that was all of it, for now
 *
 * and may ask, in lines:
 *
 *   start ID BYTES [FLAGS]       i: it has standard input; o: once; t: a terminal (`inside --tty`);
 *                                then BYTES: log, cgroup, then the arguments, each ended by NUL; an ID that is
 *                                known is not started again
 *   kill ID SIGNAL
 *   forget ID                    one that has ended
 *   attach ID INPUT              answered by "attached"; then the connection has frames (pause-attached.h), and
 *                                INPUT 1 says that some may come
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pause-attached.h"
#include "pause-log.h"
#include "pause.h"

enum { MAX_CONTAINERS = 128, MAX_CLIENTS = 8, ID_BYTES = 128, WORD_BYTES = 512, MAX_REQUEST = 2 << 20, MAX_ARGUMENTS = 8192 };

struct container {
  char id[ID_BYTES];
  pid_t monitor;  /* bwrap; 0 once it has ended */
  pid_t first;    /* of the container's processes, as we see it; 0 while unknown */
  int first_fd;   /* pidfd of it */
  long long start, end;
  int code;
  bool started, told;
  char *cgroup; /* where containers share processes: what of it is left when it ends */
  struct stream out, err;
  struct log log;
  int info, report, life;
  struct source source;
  char info_text[256], words[WORD_BYTES];
  size_t info_length, words_length;
};

struct client {
  int fd;
  char *data;
  size_t length, capacity;
};

static struct container *containers[MAX_CONTAINERS];
static struct client clients[MAX_CLIENTS];
/* Of the pod's containers together; 0: each has its own. SHARED_BASE: of their ids. */
static pid_t shared;
static unsigned shared_base;

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void drop_client(struct client *client) {
  close(client->fd);
  free(client->data);
  *client = (struct client){.fd = -1};
}

static void tell(struct client *client, const char *text, size_t length) {
  if (client->fd < 0) return;
  /* Who does not read is told anew when it comes back. */
  if (send(client->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length) drop_client(client);
}

static size_t describe(const struct container *c, char *text, size_t size) {
  int length = c->monitor ? snprintf(text, size, "made %s %d %lld\n", c->id, c->first, c->start)
                          : snprintf(text, size, "ended %s %d %lld %lld %d %s\n", c->id, c->code, c->start, c->end,
                                     c->started, c->words);
  return (size_t)length < size ? (size_t)length : size - 1;
}

static void tell_all(const struct container *c) {
  char text[1024];
  size_t length = describe(c, text, sizeof text);
  for (int i = 0; i < MAX_CLIENTS; i++) tell(&clients[i], text, length);
}

static struct container *find(const char *id) {
  for (int i = 0; i < MAX_CONTAINERS; i++)
    if (containers[i] && !strcmp(containers[i]->id, id)) return containers[i];
  return NULL;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* A program that runs is told of once both its first process and its start are known. */
static void tell_made(struct container *c) {
  if (c->told || !c->started || c->first == 0 || c->report >= 0) return;
  c->told = true;
  tell_all(c);
}

static void read_info(struct container *c) {
  ssize_t n = read(c->info, c->info_text + c->info_length, sizeof c->info_text - 1 - c->info_length);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return close_fd(&c->info);
  /* Read to its end also when we know enough: bwrap must not find it closed. */
  if (c->first != 0) return;
  c->info_length += (size_t)n;
  c->info_text[c->info_length] = 0;
  const char *found = strstr(c->info_text, "\"child-pid\":");
  /* The digits are whole only when something follows them. */
  if (!found || !strpbrk(found, ",}\n")) return;
  c->first = atoi(found + strlen("\"child-pid\":"));
  c->first_fd = (int)syscall(SYS_pidfd_open, c->first, 0);
  c->info_length = 0;
  tell_made(c);
}

static void read_report(struct container *c) {
  char text[WORD_BYTES];
  ssize_t n = read(c->report, text, sizeof text);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  for (ssize_t i = 0; i < n; i++) {
    if (text[i] == REACHED && !c->started && c->words_length == 0) c->started = true;
    else if (text[i] == FAILED && c->words_length == 0 && c->started) c->started = false, c->words_length = 1;
    else if (c->words_length > 0 && c->words_length < WORD_BYTES) c->words[c->words_length++ - 1] = text[i] == '\n' ? ' ' : text[i];
  }
  if (n > 0) return;
  close_fd(&c->report);
  tell_made(c);
}

/* The program's end is not that of those that it has started. */
static void kill_cgroup(const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/cgroup.kill", folder);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0 && write(fd, "1", 1) < 0) fprintf(stderr, "cannot end what is in %s: %s\n", folder, strerror(errno));
  close_fd(&fd);
}

static void end_container(struct container *c, int status) {
  c->monitor = 0;
  c->end = now_ms();
  c->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  /* A monitor that was killed leaves its container behind, which may never stop writing. */
  if (c->first_fd >= 0) syscall(SYS_pidfd_send_signal, c->first_fd, SIGKILL, NULL, 0);
  close_fd(&c->first_fd);
  if (c->cgroup) kill_cgroup(c->cgroup);
  close_fd(&c->life);
  close_fd(&c->source.in);
  c->source.control = -1;
  for (struct stream *s = &c->out; s; s = s == &c->out ? &c->err : NULL) {
    while (s->fd >= 0 && stream_read(s, &c->log)) {
      struct pollfd more = {s->fd, POLLIN, 0};
      if (poll(&more, 1, 0) <= 0) break;
    }
    stream_flush(s, &c->log);
    close_fd(&s->fd);
  }
  attached_end(&c->source);
  if (c->report >= 0) read_report(c);
  if (!c->started && c->words_length == 0)
    snprintf(c->words, sizeof c->words, "the sandbox was not made; the end of the container's log says why");
  close_fd(&c->report);
  close_fd(&c->info);
  log_close(&c->log);
  tell_all(c);
}

static void reap(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == shared) die(1, "the pod's first process has ended");
    for (int i = 0; i < MAX_CONTAINERS; i++)
      if (containers[i] && containers[i]->monitor == pid) end_container(containers[i], status);
  }
}

static void join_cgroup(const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/cgroup.procs", folder);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "0", 1) != 1) die(START_ERROR, "cannot join the cgroup %s: %s", folder, strerror(errno));
  close(fd);
}

/* For bwrap's --pidns, or for `oci`. */
static void share_with_pod(void) {
  char text[64];
  snprintf(text, sizeof text, shared_base ? "%d" : "/proc/%d/ns/pid", shared);
  if (shared_base) {
    setenv(SHARED_WITH, text, 1);
    return;
  }
  int fd = open(text, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || dup2(fd, SHARE_FD) < 0) die(START_ERROR, "cannot share the pod's processes: %s", strerror(errno));
}

static _Noreturn void become_monitor(const char *cgroup, char **argv, const int given[5], int input) {
  sigset_t none;
  int null = input >= 0 ? input : open("/dev/null", O_RDONLY | O_CLOEXEC);
  /* All of ours are above, so that none is overwritten before it is copied. */
  int high[1 + 5] = {fcntl(null, F_DUPFD_CLOEXEC, 64)};
  for (int i = 0; i < 5; i++) high[1 + i] = fcntl(given[i], F_DUPFD_CLOEXEC, 64);
  for (int i = 0; i < 6; i++)
    if (high[i] < 0 || dup2(high[i], i) < 0) _exit(START_ERROR);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  if (*cgroup) join_cgroup(cgroup);
  if (shared) share_with_pod();
  execvp(argv[0], argv);
  die(START_ERROR, "cannot start %s: %s", argv[0], strerror(errno));
}

/* What the container gets (stdout, stderr, INFO_FD, REPORT_FD, LIFE_FD), and our ends of it. */
static bool make_pipes(int theirs[5], int ours[5]) {
  for (int i = 0; i < 5; i++) {
    int ends[2], mine = i + 1 == LIFE_FD;
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    ours[i] = ends[mine];
    theirs[i] = ends[!mine];
    fcntl(ours[i], F_SETFL, O_NONBLOCK);
  }
  return true;
}

static bool stream_heard(struct stream *stream, const char *text, size_t length) {
  const struct container *c = stream->owner;
  attached_hear(&c->source, stream == &c->out ? FRAME_STDOUT : FRAME_STDERR, text, length);
  /* Of a container that has ended, all that is there is read. */
  return !c->monitor || !attached_is_behind(&c->source);
}

static void start(const char *id, const char *flags, const char *log, const char *cgroup, char **argv) {
  int input[2] = {-1, -1};
  int slot = 0, theirs[5] = {-1, -1, -1, -1, -1}, ours[5] = {-1, -1, -1, -1, -1};
  struct container *known = find(id);
  if (known) {
    if (known->told || !known->monitor) tell_all(known);
    return;
  }
  while (slot < MAX_CONTAINERS && containers[slot]) slot++;
  struct container *c = slot < MAX_CONTAINERS ? calloc(1, sizeof *c) : NULL;
  if (!c) return;
  snprintf(c->id, sizeof c->id, "%s", id);
  containers[slot] = c;
  c->start = now_ms();
  c->cgroup = shared && *cgroup ? strdup(cgroup) : NULL;
  c->out = (struct stream){.fd = -1, .name = "stdout", .heard = stream_heard, .owner = c};
  c->err = (struct stream){.fd = -1, .name = "stderr", .heard = stream_heard, .owner = c};
  c->source = (struct source){.in = -1, .control = -1, .once = strchr(flags, 'o'), .tty = strchr(flags, 't')};
  c->first_fd = c->info = c->report = c->life = -1;
  log_open(&c->log, log);
  if ((strchr(flags, 'i') && pipe2(input, O_CLOEXEC) < 0) || !make_pipes(theirs, ours) || (c->monitor = fork()) < 0) {
    for (int i = 0; i < 5; i++) close_fd(&theirs[i]), close_fd(&ours[i]);
    close_fd(&input[0]), close_fd(&input[1]);
    c->monitor = 0;
    c->end = c->start;
    c->code = START_ERROR;
    snprintf(c->words, sizeof c->words, "no process could be started: %s", strerror(errno));
    return tell_all(c);
  }
  if (c->monitor == 0) become_monitor(cgroup, argv, theirs, input[0]);
  for (int i = 0; i < 5; i++) close(theirs[i]);
  close_fd(&input[0]);
  if (input[1] >= 0) fcntl(input[1], F_SETFL, O_NONBLOCK);
  c->out.fd = ours[0], c->err.fd = ours[1], c->info = ours[2], c->report = ours[3], c->life = ours[4];
  c->source.in = input[1], c->source.control = c->life;
}

static void kill_container(const char *id, int number) {
  struct container *c = find(id);
  if (!c || !c->monitor) return;
  if (c->first_fd >= 0) syscall(SYS_pidfd_send_signal, c->first_fd, number, NULL, 0);
  else if (number == SIGKILL) kill(c->monitor, SIGKILL);
}

static void forget(const char *id) {
  for (int i = 0; i < MAX_CONTAINERS; i++) {
    if (!containers[i] || containers[i]->monitor || strcmp(containers[i]->id, id)) continue;
    free(containers[i]->cgroup);
    free(containers[i]);
    containers[i] = NULL;
  }
}

/* The strings of a start request; false when they are not what they should be. */
static bool run_payload(const char *id, const char *flags, char *data, size_t length) {
  static char *words[MAX_ARGUMENTS + 1];
  size_t count = 0;
  if (length == 0 || data[length - 1] != 0) return false;
  for (char *at = data; at < data + length; at += strlen(at) + 1) {
    if (count == MAX_ARGUMENTS) return false;
    words[count++] = at;
  }
  words[count] = NULL;
  if (count < 3) return false;
  start(id, flags, words[0], words[1], words + 2);
  return true;
}

/* The connection is no longer a client's; whoever asked sends nothing before the answer. */
static bool attach(struct client *client, const char *id, bool gives_input) {
  struct container *c = find(id);
  if (!c || !c->monitor || send(client->fd, "attached\n", 9, MSG_DONTWAIT | MSG_NOSIGNAL) != 9) return false;
  if (!attached_add(client->fd, &c->source, gives_input)) return false;
  free(client->data);
  *client = (struct client){.fd = -1};
  return true;
}

/* Bytes of one whole request at the front of the buffer that were dealt with; 0: more must come; -1: nonsense. */
static ssize_t take_request(struct client *client) {
  char id[ID_BYTES], verb[16], flags[8] = "";
  unsigned long number = 0;
  char *end = memchr(client->data, '\n', client->length);
  if (!end) return client->length > 1024 ? -1 : 0;
  size_t head = (size_t)(end - client->data) + 1;
  *end = 0;
  int fields = sscanf(client->data, "%15s %127s %lu %7[iot]", verb, id, &number, flags);
  *end = '\n';
  if (fields >= 2 && !strcmp(verb, "forget")) return forget(id), (ssize_t)head;
  if (fields == 3 && !strcmp(verb, "attach")) return attach(client, id, number == 1) ? (ssize_t)head : -1;
  if (fields == 3 && !strcmp(verb, "kill")) return kill_container(id, (int)number), (ssize_t)head;
  if (fields < 3 || strcmp(verb, "start") || number > MAX_REQUEST) return -1;
  if (client->length < head + number) return 0;
  return run_payload(id, flags, client->data + head, number) ? (ssize_t)(head + number) : -1;
}

static void read_client(struct client *client) {
  if (client->capacity - client->length < 4096) {
    char *grown = realloc(client->data, client->capacity + 65536);
    if (!grown) return drop_client(client);
    client->data = grown;
    client->capacity += 65536;
  }
  ssize_t n = recv(client->fd, client->data + client->length, client->capacity - client->length, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop_client(client);
  client->length += (size_t)n;
  while (client->length > 0) {
    ssize_t used = take_request(client);
    if (used == 0) return;
    /* It was handed over, or could not be told. */
    if (client->fd < 0) return;
    if (used < 0) return drop_client(client);
    client->length -= (size_t)used;
    memmove(client->data, client->data + used, client->length);
  }
}

static void accept_client(int listener) {
  char text[1024];
  int slot = 0, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  while (slot < MAX_CLIENTS && clients[slot].fd >= 0) slot++;
  if (slot == MAX_CLIENTS) {
    close(fd);
    return;
  }
  clients[slot] = (struct client){.fd = fd};
  for (int i = 0; i < MAX_CONTAINERS; i++) {
    const struct container *c = containers[i];
    if (c && (c->told || !c->monitor)) tell(&clients[slot], text, describe(c, text, sizeof text));
  }
  tell(&clients[slot], "ready\n", 6);
}

/* Bound under another name first: whoever finds it can connect. */
static int listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s.new", path) >= sizeof address.sun_path)
    die(1, "the path of the socket %s is longer than %zu bytes", path, sizeof address.sun_path - 5);
  unlink(address.sun_path);
  umask(077);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, MAX_CLIENTS) < 0 ||
      rename(address.sun_path, path) < 0)
    die(1, "cannot listen at %s: %s", path, strerror(errno));
  return fd;
}

/* PATH,OPTIONS: memory that goes with the pod, in a mount namespace of its own. */
static void mount_memory(char *text) {
  static bool apart = false;
  char *options = strchr(text, ',');
  if (!options) die(1, "\"%s\" is not PATH,OPTIONS", text);
  *options++ = 0;
  if (!apart && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0))
    die(1, "cannot make a mount namespace: %s", strerror(errno));
  apart = true;
  if (mount("heddle", text, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
    die(1, "cannot mount memory at %s (%s): %s", text, options, strerror(errno));
}

static void serve(int listener, int signals) {
  struct pollfd polls[2 + MAX_CLIENTS + 4 * MAX_CONTAINERS + ATTACHED_POLLS];
  for (;;) {
    size_t n = 0;
    polls[n++] = (struct pollfd){listener, POLLIN, 0};
    polls[n++] = (struct pollfd){signals, POLLIN, 0};
    for (int i = 0; i < MAX_CLIENTS; i++) polls[n++] = (struct pollfd){clients[i].fd, POLLIN, 0};
    for (int i = 0; i < MAX_CONTAINERS; i++) {
      struct container *c = containers[i];
      bool waits = c && attached_is_behind(&c->source);
      int fds[] = {c && !waits ? c->out.fd : -1, c && !waits ? c->err.fd : -1, c ? c->info : -1, c ? c->report : -1};
      for (int j = 0; j < 4; j++) polls[n++] = (struct pollfd){fds[j], POLLIN, 0};
    }
    struct pollfd *attached = polls + n;
    attached_polls(attached);
    if (poll(polls, n + ATTACHED_POLLS, attached_timeout()) < 0) continue;
    attached_serve(attached);
    for (int i = 0; i < MAX_CONTAINERS; i++) {
      struct container *c = containers[i];
      const struct pollfd *mine = polls + 2 + MAX_CLIENTS + 4 * i;
      if (!c) continue;
      if (mine[2].revents) read_info(c);
      if (mine[3].revents) read_report(c);
      if (mine[0].revents && !stream_read(&c->out, &c->log)) close_fd(&c->out.fd);
      if (mine[1].revents && !stream_read(&c->err, &c->log)) close_fd(&c->err.fd);
    }
    if (polls[1].revents) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof info) > 0) reap();
    }
    for (int i = 0; i < MAX_CLIENTS; i++)
      if (polls[2 + i].revents && clients[i].fd >= 0) read_client(&clients[i]);
    if (polls[0].revents) accept_client(listener);
  }
}

/* hold SOCKET HOSTNAME [--share BASE] [PATH,OPTIONS]... */
int hold(int argc, char **argv) {
  sigset_t ended;
  if (argc < 4) die(2, "usage: heddle-pause hold SOCKET HOSTNAME [--share BASE] [PATH,OPTIONS]...");
  if (unshare(CLONE_NEWUTS | CLONE_NEWIPC) < 0 || sethostname(argv[3], strlen(argv[3])) < 0)
    die(1, "cannot make the pod's namespaces: %s", strerror(errno));
  int rest = 4;
  if (argc > 5 && !strcmp(argv[4], "--share")) {
    shared_base = (unsigned)strtoul(argv[5], NULL, 10);
    shared = share_processes(shared_base, argv, argv[argc - 1] + strlen(argv[argc - 1]));
    rest = 6;
  }
  for (int i = rest; i < argc; i++) mount_memory(argv[i]);
  for (int i = 0; i < MAX_CLIENTS; i++) clients[i].fd = -1;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  signal(SIGPIPE, SIG_IGN);
  serve(listen_at(argv[2]), signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK));
  return 0;
}
