/*
 * heddle-cni: the executable a container runtime calls. It carries the CNI_* environment and standard input to
 * the node's agent over a unix socket, prints what the agent answers and exits with the agent's code. It
 * decides nothing: VERSION is the one command it answers by itself, so that it works with no agent.
 *
 * With "pods" in its configuration, a folder, it is called by the runtime of pods whose network a cluster's pod host
 * makes: ADD goes to <pods>/<uid of the pod>.sock, with CNI_NETNS as any mount namespace can open it; all other
 * commands succeed at once, for the pod host, and not the runtime, takes the network away.
 *
 * Frame to the agent:    "HCNI1 <length>\n", then <length> bytes: "KEY=VALUE\0" for each CNI_* variable, an
 *                        empty string ("\0"), then standard input as it came.
 * Frame from the agent:  "HCNI1 <exit code> <length>\n", then <length> bytes for standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/heddle/cni.sock"
#define SPEC_VERSION "1.1.0"
#define SUPPORTED "\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

enum {
  MAX_INPUT = 4 << 20,
  MAX_REPLY = 4 << 20,
  STDIN_MS = 10000,   /* a runtime that keeps our input open does not hang us */
  CONNECT_MS = 5000,  /* covers the agent's restart */
  REPLY_MS = 60000,
};

/* Error codes of the CNI specification, section "Error". */
enum { BAD_ENVIRONMENT = 4, IO_FAILURE = 5, DECODE_FAILURE = 6, TRY_AGAIN = 11, NOT_AVAILABLE = 50 };

/* Section "STATUS": what cannot serve an ADD now says so by a code of its own. */
static int agent_away = TRY_AGAIN;

extern char **environ;

struct buffer {
  char *data;
  size_t length, capacity;
};

static void out(const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(1, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    text += n;
    length -= (size_t)n;
  }
}

static void append(struct buffer *b, const void *data, size_t length) {
  if (b->length + length > b->capacity) {
    size_t capacity = b->capacity ? b->capacity : 4096;
    while (capacity < b->length + length) capacity *= 2;
    char *grown = realloc(b->data, capacity);
    if (!grown) _exit(1);
    b->data = grown;
    b->capacity = capacity;
  }
  memcpy(b->data + b->length, data, length);
  b->length += length;
}

static void append_text(struct buffer *b, const char *text) { append(b, text, strlen(text)); }

static void append_json_string(struct buffer *b, const char *text) {
  append(b, "\"", 1);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    char escape[8];
    if (*p == '"' || *p == '\\') snprintf(escape, sizeof escape, "\\%c", *p);
    else if (*p < 0x20 || *p > 0x7e) snprintf(escape, sizeof escape, "\\u%04x", *p);
    else snprintf(escape, sizeof escape, "%c", *p);
    append_text(b, escape);
  }
  append(b, "\"", 1);
}

static char version_asked[32] = SPEC_VERSION;

/* Prints an error as the specification wants it, on standard output, and ends. */
static void fail(int code, const char *details, const char *format, ...) {
  char message[512], number[16];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  struct buffer b = {0};
  append_text(&b, "{\"cniVersion\":");
  append_json_string(&b, version_asked);
  snprintf(number, sizeof number, "%d", code);
  append_text(&b, ",\"code\":");
  append_text(&b, number);
  append_text(&b, ",\"msg\":");
  append_json_string(&b, message);
  if (details && *details) {
    append_text(&b, ",\"details\":");
    append_json_string(&b, details);
  }
  append_text(&b, "}\n");
  out(b.data, b.length);
  exit(1);
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

/* Waits for `events` until `deadline`; false when it has passed. */
static bool wait_for(int fd, short events, long deadline) {
  for (;;) {
    long left = deadline - now_ms();
    if (left <= 0) return false;
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, (int)left);
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) return false;
  }
}

static void read_input(struct buffer *b) {
  long deadline = now_ms() + STDIN_MS;
  char chunk[16384];
  for (;;) {
    if (!wait_for(0, POLLIN, deadline))
      fail(IO_FAILURE, "", "the network configuration did not end within %d s on standard input", STDIN_MS / 1000);
    ssize_t n = read(0, chunk, sizeof chunk);
    if (n == 0) return;
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      fail(IO_FAILURE, strerror(errno), "cannot read the network configuration from standard input");
    }
    append(b, chunk, (size_t)n);
    if (b->length > MAX_INPUT)
      fail(DECODE_FAILURE, "", "the network configuration is larger than %d bytes", MAX_INPUT);
  }
}

/* --- just enough JSON to find one string of the outermost object ------------------------------------------ */

static const char *skip_space(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
  return p;
}

/* After the string that starts at the quote `p`; NULL when it does not end. Copies it to `to` if it fits. */
static const char *read_string(const char *p, const char *end, char *to, size_t size) {
  size_t length = 0;
  for (p++; p < end && *p != '"'; p++) {
    char c = *p;
    if (c == '\\') {
      if (++p >= end) return NULL;
      c = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
      if (*p == 'u') c = '?';
    }
    if (to && length + 1 < size) to[length++] = c;
  }
  if (to) to[length] = 0;
  return p < end ? p + 1 : NULL;
}

/* After the value at `p`, whatever it is. */
static const char *skip_value(const char *p, const char *end) {
  int depth = 0;
  while (p && p < end) {
    if (*p == '"') {
      p = read_string(p, end, NULL, 0);
      if (depth == 0) return p;
      continue;
    }
    if (*p == '{' || *p == '[') depth++;
    else if (*p == '}' || *p == ']') {
      if (depth == 0) return p;
      if (--depth == 0) return p + 1;
    } else if (*p == ',' && depth == 0) return p;
    p++;
  }
  return p;
}

static bool find_string(const struct buffer *json, const char *key, char *to, size_t size) {
  const char *end = json->data + json->length;
  const char *p = skip_space(json->data, end);
  if (p >= end || *p != '{') return false;
  p++;
  for (;;) {
    char name[64];
    p = skip_space(p, end);
    if (p < end && *p == ',') p = skip_space(p + 1, end);
    if (p >= end || *p != '"') return false;
    p = read_string(p, end, name, sizeof name);
    if (!p) return false;
    p = skip_space(p, end);
    if (p >= end || *p != ':') return false;
    p = skip_space(p + 1, end);
    if (p < end && *p == '"' && strcmp(name, key) == 0) return read_string(p, end, to, size) != NULL;
    p = skip_value(p, end);
    if (!p) return false;
  }
}

/* --- the agent ---------------------------------------------------------------------------------------------- */

static int try_connect(const struct sockaddr_un *address) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

/* Tries again while the agent is away, for it may be restarting. */
static int connect_agent(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path)
    fail(BAD_ENVIRONMENT, path, "the path of the agent's socket is longer than %zu bytes",
         sizeof address.sun_path - 1);
  strcpy(address.sun_path, path);
  long deadline = now_ms() + CONNECT_MS;
  for (;;) {
    int fd = try_connect(&address);
    if (fd >= 0) return fd;
    bool away = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN;
    if (!away || now_ms() >= deadline) {
      char details[256];
      snprintf(details, sizeof details, "connect %s: %s", path, strerror(errno));
      fail(agent_away, details, "the agent of this node does not answer: is it running?");
    }
    usleep(50 * 1000);
  }
}

static void send_all(int fd, const char *data, size_t length, long deadline) {
  while (length > 0) {
    ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline)) continue;
    if (n < 0) fail(agent_away, strerror(errno), "the agent of this node did not take the request");
    data += n;
    length -= (size_t)n;
  }
}

static void receive_all(int fd, struct buffer *reply, long deadline) {
  char chunk[16384];
  for (;;) {
    if (!wait_for(fd, POLLIN, deadline))
      fail(agent_away, "", "the agent of this node did not answer within %d s", REPLY_MS / 1000);
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n == 0) return;
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      fail(agent_away, strerror(errno), "the agent of this node broke off its answer");
    }
    append(reply, chunk, (size_t)n);
    if (reply->length > MAX_REPLY)
      fail(IO_FAILURE, "", "the agent's answer is larger than %d bytes", MAX_REPLY);
  }
}

/* `netns` stands for what CNI_NETNS says, if it is not empty. */
static void build_request(struct buffer *frame, const struct buffer *input, const char *netns) {
  struct buffer body = {0};
  for (char **entry = environ; *entry; entry++)
    if (strncmp(*entry, "CNI_", 4) == 0 && !(*netns && strncmp(*entry, "CNI_NETNS=", 10) == 0))
      append(&body, *entry, strlen(*entry) + 1);
  if (*netns) {
    append_text(&body, "CNI_NETNS=");
    append(&body, netns, strlen(netns) + 1);
  }
  append(&body, "", 1);
  append(&body, input->data, input->length);
  char head[32];
  snprintf(head, sizeof head, "HCNI1 %zu\n", body.length);
  append_text(frame, head);
  append(frame, body.data, body.length);
}

static int print_reply(struct buffer *reply) {
  append(reply, "", 1);
  int code = 0, start = 0;
  size_t length = 0;
  if (sscanf(reply->data, "HCNI1 %d %zu%n", &code, &length, &start) != 2 || reply->data[start] != '\n' ||
      reply->length - 1 != (size_t)start + 1 + length)
    fail(agent_away, "", "the agent of this node broke off its answer: it may have been restarted");
  out(reply->data + start + 1, length);
  return code & 255;
}

static int print_version(void) {
  struct buffer b = {0};
  append_text(&b, "{\"cniVersion\":");
  append_json_string(&b, version_asked);
  append_text(&b, ",\"supportedVersions\":[" SUPPORTED "]}\n");
  out(b.data, b.length);
  return 0;
}

/* The value of K8S_POD_UID in CNI_ARGS, as a name in a folder. */
static void read_pod_uid(char *to, size_t size) {
  static const char name[] = "K8S_POD_UID=";
  const char *arguments = getenv("CNI_ARGS");
  const char *at = arguments ? strstr(arguments, name) : NULL;
  size_t length = at ? strcspn(at + strlen(name), ";") : 0;
  if (length > 0 && length < size) {
    memcpy(to, at + strlen(name), length);
    to[length] = 0;
  }
  if (length == 0 || length >= size || *to == '.' || strchr(to, '/'))
    fail(BAD_ENVIRONMENT, "CNI_ARGS", "there is no K8S_POD_UID: this network is for pods of Heddle's clusters");
}

/* Where the pod host listens that has asked for this pod; the namespace stays open while we wait for its answer. */
static void find_pod_host(const char *folder, char *path, size_t size, char *netns, size_t netns_size) {
  char uid[128];
  read_pod_uid(uid, sizeof uid);
  if ((size_t)snprintf(path, size, "%s/%s.sock", folder, uid) >= size)
    fail(BAD_ENVIRONMENT, folder, "the path of the pod host's socket is too long");
  const char *asked = getenv("CNI_NETNS");
  int fd = open(asked ? asked : "", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(BAD_ENVIRONMENT, strerror(errno), "cannot open CNI_NETNS %s", asked ? asked : "");
  snprintf(netns, netns_size, "/proc/%d/fd/%d", getpid(), fd);
}

int main(void) {
  const char *command = getenv("CNI_COMMAND");
  if (!command || !*command) {
    if (isatty(0)) {
      const char *usage = "heddle-cni " SPEC_VERSION ": a CNI plugin; run by a container runtime with CNI_COMMAND set\n";
      return write(2, usage, strlen(usage)) < 0 ? 1 : 1;
    }
    fail(BAD_ENVIRONMENT, "CNI_COMMAND", "the environment variable CNI_COMMAND is not set");
  }
  struct buffer input = {0}, frame = {0}, reply = {0};
  append(&input, "", 0);
  read_input(&input);
  if (input.length > 0) {
    char asked[sizeof version_asked];
    if (find_string(&input, "cniVersion", asked, sizeof asked) && *asked) strcpy(version_asked, asked);
  }
  if (strcmp(command, "VERSION") == 0) return print_version();
  if (strcmp(command, "STATUS") == 0) agent_away = NOT_AVAILABLE;

  char configured[256], folder[256], netns[64] = "";
  const char *path = getenv("HEDDLE_CNI_SOCKET");
  if (find_string(&input, "pods", folder, sizeof folder)) {
    if (strcmp(command, "ADD") != 0) return 0;
    find_pod_host(folder, configured, sizeof configured, netns, sizeof netns);
    path = configured;
  } else if (!path || !*path) path = find_string(&input, "socket", configured, sizeof configured) ? configured : DEFAULT_SOCKET;
  build_request(&frame, &input, netns);
  int fd = connect_agent(path);
  long deadline = now_ms() + REPLY_MS;
  send_all(fd, frame.data, frame.length, deadline);
  receive_all(fd, &reply, deadline);
  return print_reply(&reply);
}
