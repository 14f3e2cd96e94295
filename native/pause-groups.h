/* Which groups a container of an image is in, other than those that runc makes. */
#ifndef PAUSE_GROUPS_H
#define PAUSE_GROUPS_H
#include <stdbool.h>
#include <sys/types.h>

/* Ours, below what is the root of our cgroup namespace. */
#define OWN_GROUP "/sys/fs/cgroup/monitor"

/* A group of cgroup v1, while its folder can still be seen. */
bool groups_open(const char *folder);
/* Puts a process into all that were opened. */
bool groups_give(pid_t pid);
/*
 * To a group of our own beside the container's: what we and runc take is not on its account, and a group that hands
 * controllers down holds no process itself.
 */
bool groups_step_aside(void);

#endif
