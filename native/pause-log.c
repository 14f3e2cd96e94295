#include "pause-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

bool log_open(struct log *log, const char *path) {
  struct stat found;
  log->path = strdup(path);
  log->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  log->size = log->fd >= 0 && fstat(log->fd, &found) == 0 ? (size_t)found.st_size : 0;
  return log->fd >= 0;
}

void log_close(struct log *log) {
  if (log->fd >= 0) close(log->fd);
  free(log->path);
  *log = (struct log){.fd = -1};
}

static char *aged(char *name, size_t size, const struct log *log, int age) {
  snprintf(name, size, age == 0 ? "%s" : "%s.%d", log->path, age);
  return name;
}

/* Every file is a turn older, and the oldest goes: who reads along finds where it was by the file itself. */
static void turn(struct log *log) {
  char from[4096], to[4096];
  /* Renamed already, where there was no room for the new file. */
  bool is_there = access(log->path, F_OK) == 0;
  for (int age = LOG_MAX_FILES - 2; is_there && age >= 0; age--)
    if (rename(aged(from, sizeof from, log, age), aged(to, sizeof to, log, age + 1)) < 0 && errno != ENOENT) return;
  int fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  close(log->fd);
  log->fd = fd;
  log->size = 0;
}

static void put(struct log *log, const char *stream, char kind, const char *text, size_t length) {
  char stamp[40], head[64];
  struct timespec now;
  struct tm utc;
  if (log->fd < 0) return;
  if (log->size > LOG_MAX_BYTES) turn(log);
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  int head_length = snprintf(head, sizeof head, "%s.%09ldZ %s %c ", stamp, now.tv_nsec, stream, kind);
  struct iovec parts[] = {{head, (size_t)head_length}, {(void *)text, length}, {"\n", 1}};
  /* A full disk loses lines, and must not stop the container. */
  ssize_t written = writev(log->fd, parts, 3);
  if (written == (ssize_t)((size_t)head_length + length + 1)) log->size += (size_t)written;
  /* Half a line would take the next one with it. */
  else if (written > 0 && ftruncate(log->fd, (off_t)log->size) < 0) log->size += (size_t)written;
}

static void take_lines(struct stream *stream, struct log *log) {
  size_t from = 0;
  char *end;
  while ((end = memchr(stream->line + from, '\n', stream->length - from))) {
    size_t length = (size_t)(end - stream->line) - from;
    put(log, stream->name, 'F', stream->line + from, length);
    from += length + 1;
  }
  stream->length -= from;
  memmove(stream->line, stream->line + from, stream->length);
  if (stream->length < sizeof stream->line) return;
  put(log, stream->name, 'P', stream->line, stream->length);
  stream->length = 0;
}

bool stream_read(struct stream *stream, struct log *log) {
  /* A container that never stops writing leaves room for the others. */
  for (int turns = 0; turns < 16; turns++) {
    ssize_t n = read(stream->fd, stream->line + stream->length, sizeof stream->line - stream->length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    bool more = !stream->heard || stream->heard(stream, stream->line + stream->length, (size_t)n);
    stream->length += (size_t)n;
    take_lines(stream, log);
    if (!more) return true;
  }
  return true;
}

void stream_flush(struct stream *stream, struct log *log) {
  if (stream->length > 0) put(log, stream->name, 'F', stream->line, stream->length);
  stream->length = 0;
}
