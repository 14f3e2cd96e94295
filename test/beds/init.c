/*
 * The first process of a qemu bed, in its initramfs: loads the modules in /modules by order of their names, mounts
 * the machine's files by 9p and hands over to the script that the kernel's command line names (bed_init=).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char *what)
{
	printf("bed: cannot %s: %s\n", what, strerror(errno));
	exit(1); /* the kernel panics, and qemu ends */
}

static void load(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
		fail(path);
	close(fd);
}

int main(void)
{
	const char *next = getenv("bed_init");
	struct dirent **names;
	int count = scandir("/modules", &names, NULL, alphasort);

	for (int i = 0; i < count; i++)
		if (names[i]->d_name[0] != '.')
			load(names[i]->d_name);
	mkdir("/machine", 0755);
	if (mount("machine", "/machine", "9p", MS_RDONLY,
		  "trans=virtio,version=9p2000.L,cache=loose,msize=524288") != 0)
		fail("mount the machine's files");
	if (chdir("/machine") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 ||
	    chdir("/") != 0)
		fail("make them the root");
	execl(next, next, (char *)NULL);
	fail("start the bed's script");
}
