/* A container's log as Kubernetes' tools read it: time, stream, P(artial) or F(ull), text. */
#ifndef PAUSE_LOG_H
#define PAUSE_LOG_H
#include <stdbool.h>
#include <stddef.h>

/* A kubelet's containerLogMaxSize and containerLogMaxFiles; the file that is written is one of them. */
enum { LINE_MAX_BYTES = 16 << 10, LOG_MAX_BYTES = 10 << 20, LOG_MAX_FILES = 5 };

struct log {
  int fd;
  size_t size;
  char *path;
};

/* One of its two streams. */
struct stream {
  int fd; /* -1: ended */
  const char *name;
  size_t length;
  /* Is told of all that is read; false: no more for now. */
  bool (*heard)(struct stream *stream, const char *text, size_t length);
  void *owner;
  char line[LINE_MAX_BYTES];
};

bool log_open(struct log *log, const char *path);
void log_close(struct log *log);
/* Reads what is there, a bounded amount; false once the stream has ended. */
bool stream_read(struct stream *stream, struct log *log);
/* What came without an end of line. */
void stream_flush(struct stream *stream, struct log *log);

#endif
