/*
 * heddle-pause: what a pod of processes hangs on.
 *
 *   hold    lives as long as the pod: keeps its namespaces, parents its containers, writes their logs and
 *           remembers their exit codes, so that an agent can die and come back without a container noticing.
 *   inside  the first process of a container, after bwrap has built its file system: gives up root, starts the
 *           program, hands on signals, reaps orphans, ends with the program's exit code.
 *   enter   one more program in a container that runs.
 *   stage   parts of volumes, for the program that makes a container's file system.
 *   session a program that somebody watches: in a terminal of its own, and hung up on when they go.
 *   join    gives a program its groups of cgroup v1, and its place when memory is short.
 *   oci     makes the file system of a container of an image, has runc start it, and waits for its end.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pause.h"

_Noreturn void die(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  _exit(code);
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "";
  if (!strcmp(verb, "hold")) return hold(argc, argv);
  if (!strcmp(verb, "inside")) return inside(argc, argv);
  if (!strcmp(verb, "enter")) return enter(argc, argv);
  if (!strcmp(verb, "stage")) return stage(argc, argv);
  if (!strcmp(verb, "session")) return session(argc, argv);
  if (!strcmp(verb, "join")) return join(argc, argv);
  if (!strcmp(verb, "oci")) return oci(argc, argv);
  if (!strcmp(verb, "look")) return look(argc, argv);
  die(2, "usage: heddle-pause hold|inside|enter|stage|session|join|oci|look ...");
}
