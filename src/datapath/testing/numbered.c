// SPDX-License-Identifier: Apache-2.0
/*
 * Traffic for tests in which not one packet may be missing: what is sent is numbered, what arrives is checked, and
 * buffers are so large that a busy machine loses nothing by itself. Each mode runs until its standard input ends and
 * then says what it saw, as JSON.
 *
 *     numbered hear ID PORT                              datagrams for ID, at [::]:PORT
 *     numbered send RATE FLOW,ID,TAG,TARGET..            RATE datagrams a second in all, in turn
 *     numbered echo PORT                                 what TCP connections say, back to them
 *     numbered talk COUNT MILLISECONDS TARGET..          COUNT connections; each says a number in every interval
 *     numbered dial MILLISECONDS TARGET..                a new connection every interval, for one number each
 *     numbered knock MILLISECONDS TARGET..               a connection that must not come about, every interval
 *
 * TARGET: address,port
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FLOWS 64
#define NUMBERS (1 << 20)
#define CONNECTIONS 4096
#define MAGIC 0x6e756d62

struct datagram {
	uint32_t magic, flow, to, tag, number;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Standard input ends, or time passes. */
static int is_over(int ms)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char byte;

	return poll(&in, 1, ms) > 0 && read(0, &byte, 1) <= 0;
}

static void big_buffers(int fd)
{
	int size = 64 << 20;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		fail("SO_RCVBUFFORCE");
}

/* An address, IPv4 ones mapped into IPv6 only where `mapped`; sets `end` after the port. */
static socklen_t target(const char *text, struct sockaddr_storage *out, const char **rest)
{
	char address[64] = "";
	int port = 0, length = 0;

	if (sscanf(text, "%63[^,],%d%n", address, &port, &length) != 2) {
		fprintf(stderr, "no target: %s\n", text);
		exit(2);
	}
	if (rest)
		*rest = text + length;
	memset(out, 0, sizeof(*out));
	if (strchr(address, ':')) {
		struct sockaddr_in6 *six = (void *)out;

		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		inet_pton(AF_INET6, address, &six->sin6_addr);
		return sizeof(*six);
	}
	struct sockaddr_in *four = (void *)out;

	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	inet_pton(AF_INET, address, &four->sin_addr);
	return sizeof(*four);
}

static int listen_at(int type, int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (void *)&any, sizeof(any)))
		fail("bind");
	return fd;
}

static int say_ready(void)
{
	return write(1, "ready\n", 6);
}

/* hear */

static uint8_t *seen[FLOWS];
static uint32_t received[FLOWS], twice[FLOWS], behind[FLOWS], highest[FLOWS];

static int hear(uint32_t id, int port)
{
	int fd = listen_at(SOCK_DGRAM, port), on = 1;
	uint32_t foreign = 0, forbidden = 0, dropped = 0;
	struct pollfd both[2] = { { .fd = fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };

	big_buffers(fd);
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	say_ready();
	for (;;) {
		struct datagram d;
		char control[64];
		struct iovec part = { &d, sizeof(d) };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
		char byte;

		poll(both, 2, -1);
		for (;;) {
			message.msg_control = control;
			message.msg_controllen = sizeof(control);
			ssize_t length = recvmsg(fd, &message, 0);

			if (length < 0)
				break;
			for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
				if (c->cmsg_type == SO_RXQ_OVFL)
					memcpy(&dropped, CMSG_DATA(c), 4);
			if (length != sizeof(d) || d.magic != MAGIC || d.flow >= FLOWS || d.number >= NUMBERS || d.to != id) {
				foreign++;
				continue;
			}
			if (d.tag)
				forbidden++;
			if (!seen[d.flow])
				seen[d.flow] = calloc(1, NUMBERS);
			if (seen[d.flow][d.number]++)
				twice[d.flow]++;
			else
				received[d.flow]++;
			if (d.number < highest[d.flow])
				behind[d.flow]++;
			else
				highest[d.flow] = d.number;
		}
		if (both[1].revents && read(0, &byte, 1) <= 0)
			break;
	}
	printf("{\"foreign\":%u,\"forbidden\":%u,\"overflow\":%u,\"flows\":{", foreign, forbidden, dropped);
	for (int i = 0, first = 1; i < FLOWS; i++) {
		if (!seen[i])
			continue;
		printf("%s\"%d\":{\"received\":%u,\"twice\":%u,\"behind\":%u,\"missing\":[", first ? "" : ",", i, received[i],
		       twice[i], behind[i]);
		for (uint32_t n = 0, told = 0; n < highest[i] && told < 20; n++)
			if (!seen[i][n])
				printf("%s%u", told++ ? "," : "", n);
		printf("]}");
		first = 0;
	}
	printf("}}\n");
	return 0;
}

/* send */

static int send_numbered(double rate, int count, char **flows)
{
	int fds[FLOWS];
	struct datagram d[FLOWS];
	uint32_t failed[FLOWS] = { 0 };
	uint64_t start = now_us(), sent = 0;

	for (int i = 0; i < count; i++) {
		struct sockaddr_storage to;
		char where[128];
		unsigned flow, id, tag;
		socklen_t length;

		if (sscanf(flows[i], "%u,%u,%u,%127s", &flow, &id, &tag, where) != 4)
			return 2;
		length = target(where, &to, 0);
		fds[i] = socket(to.ss_family, SOCK_DGRAM, 0);
		if (fds[i] < 0 || connect(fds[i], (void *)&to, length))
			fail("connect");
		big_buffers(fds[i]);
		d[i] = (struct datagram){ MAGIC, flow, id, tag, 0 };
	}
	say_ready();
	while (!is_over(1)) {
		uint64_t due = (now_us() - start) * rate / 1e6;

		/* Behind by much, after a pause of the machine: not all at once. */
		if (due > sent + 200)
			due = sent + 200;
		for (; sent < due; sent++) {
			int i = sent % count;

			/* An error of an earlier datagram is told once, and is nothing that this one met. */
			if (send(fds[i], &d[i], sizeof(d[i]), 0) != sizeof(d[i]) &&
			    (errno != ECONNREFUSED || send(fds[i], &d[i], sizeof(d[i]), 0) != sizeof(d[i])))
				failed[i]++;
			d[i].number++;
		}
	}
	printf("{\"seconds\":%.3f,\"flows\":{", (now_us() - start) / 1e6);
	for (int i = 0; i < count; i++)
		printf("%s\"%u\":{\"sent\":%u,\"failed\":%u}", i ? "," : "", d[i].flow, d[i].number, failed[i]);
	printf("}}\n");
	return 0;
}

/* echo */

static int echo(int port)
{
	int server = listen_at(SOCK_STREAM, port), poller = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = server };
	unsigned accepted = 0, resets = 0;

	if (listen(server, CONNECTIONS))
		fail("listen");
	epoll_ctl(poller, EPOLL_CTL_ADD, server, &event);
	event.data.fd = 0;
	epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
	say_ready();
	for (;;) {
		struct epoll_event events[256];
		int count = epoll_wait(poller, events, 256, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			char data[4096];
			ssize_t length;

			if (fd == 0 && read(0, data, 1) <= 0) {
				printf("{\"accepted\":%u,\"resets\":%u}\n", accepted, resets);
				return 0;
			}
			if (fd == 0)
				continue;
			if (fd == server) {
				while ((fd = accept4(server, 0, 0, SOCK_NONBLOCK)) >= 0) {
					event.data.fd = fd;
					epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
					accepted++;
				}
				continue;
			}
			length = read(fd, data, sizeof(data));
			if (length > 0 && write(fd, data, length) == length)
				continue;
			if (length < 0 && errno == EAGAIN)
				continue;
			if (length < 0)
				resets++;
			close(fd);
		}
	}
}

/* talk */

struct talker {
	int fd;
	uint32_t said, heard;
	uint64_t last;
	int broken;
};

static struct talker talkers[CONNECTIONS];

static int talk(int count, int interval, int targets, char **where)
{
	int poller = epoll_create1(0);
	uint64_t begin, gap = 0;
	unsigned lost = 0, wrong = 0, silent = 0, again = 0;
	unsigned long said = 0;

	for (int i = 0; i < count; i++) {
		struct sockaddr_storage to;
		socklen_t length = target(where[i % targets], &to, 0);
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
		int on = 1;

		talkers[i].fd = socket(to.ss_family, SOCK_STREAM, 0);
		if (talkers[i].fd < 0 || connect(talkers[i].fd, (void *)&to, length))
			fail("connect");
		fcntl(talkers[i].fd, F_SETFL, O_NONBLOCK);
		setsockopt(talkers[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		epoll_ctl(poller, EPOLL_CTL_ADD, talkers[i].fd, &event);
	}
	say_ready();
	begin = now_us();
	while (!is_over(0)) {
		struct epoll_event events[256];
		uint64_t now = now_us();
		int ready;

		/* Each in its own moment of the interval; one that waits for its answer is left alone. */
		while (said < (now - begin) * count / (interval * 1000ull)) {
			struct talker *t = &talkers[said % count];

			said++;
			if (t->broken || t->said != t->heard)
				continue;
			t->said++;
			t->last = now;
			if (write(t->fd, &t->said, 4) != 4)
				t->broken = 1;
		}
		ready = epoll_wait(poller, events, 256, 1);
		now = now_us();
		for (int k = 0; k < ready; k++) {
			struct talker *t = &talkers[events[k].data.u32];
			uint32_t number = 0;
			ssize_t length = read(t->fd, &number, 4);

			if (length < 0 && errno == EAGAIN)
				continue;
			if (length != 4) {
				t->broken = 1;
				epoll_ctl(poller, EPOLL_CTL_DEL, t->fd, 0);
				continue;
			}
			if (number != t->heard + 1)
				wrong++;
			t->heard = number;
			if (now - t->last > gap)
				gap = now - t->last;
		}
	}
	/* Those whose answer is on its way. */
	uint64_t end = now_us() + 3000000;
	unsigned long heard = 0;

	for (int i = 0; i < count; i++) {
		struct talker *t = &talkers[i];

		while (!t->broken && t->heard < t->said && now_us() < end) {
			uint32_t number;

			if (read(t->fd, &number, 4) == 4)
				t->heard = number;
			else
				usleep(1000);
		}
		struct tcp_info info;
		socklen_t length = sizeof(info);

		if (!getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, &info, &length))
			again += info.tcpi_total_retrans;
		lost += t->broken;
		silent += !t->broken && t->heard < t->said;
		heard += t->heard;
	}
	printf("{\"connections\":%d,\"broken\":%u,\"silent\":%u,\"wrong\":%u,\"answers\":%lu,\"gapMs\":%.1f,\"retransmitted\":%u}\n",
	       count, lost, silent, wrong, heard, gap / 1e3, again);
	return 0;
}

/* dial */

static int dial(int interval, int targets, char **where)
{
	struct pollfd open[1024];
	uint64_t begun[1024], slowest = 0;
	unsigned tried = 0, answered = 0, failed = 0, slow = 0, over = 0;
	uint64_t end = 0;

	for (int i = 0; i < 1024; i++)
		open[i].fd = -1;
	say_ready();
	while (!end || (now_us() < end && answered + failed < tried)) {
		int slot = tried % 1024;

		if (!end && is_over(interval))
			end = now_us() + 5000000;
		if (!end && open[slot].fd < 0) {
			struct sockaddr_storage to;
			socklen_t length = target(where[tried % targets], &to, 0);
			int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

			begun[slot] = now_us();
			tried++;
			connect(fd, (void *)&to, length);
			open[slot] = (struct pollfd){ .fd = fd, .events = POLLOUT };
		}
		poll(open, 1024, end ? 10 : 0);
		for (int i = 0; i < 1024; i++) {
			uint32_t number = i;

			if (open[i].fd < 0 || !open[i].revents)
				continue;
			if (open[i].events == POLLOUT && write(open[i].fd, &number, 4) == 4) {
				open[i].events = POLLIN;
				continue;
			}
			if (open[i].events == POLLIN && read(open[i].fd, &number, 4) == 4 && number == (uint32_t)i) {
				uint64_t took = now_us() - begun[i];

				answered++;
				slow += took > 500000;
				slowest = took > slowest ? took : slowest;
			} else {
				failed++;
			}
			close(open[i].fd);
			open[i].fd = -1;
		}
	}
	over = tried - answered - failed;
	printf("{\"tried\":%u,\"failed\":%u,\"silent\":%u,\"slow\":%u,\"slowestMs\":%.1f}\n", tried, failed, over, slow,
	       slowest / 1e3);
	return 0;
}

/* knock */

static int knock(int interval, int targets, char **where)
{
	unsigned tried = 0, let_in = 0, heard = 0;
	struct pollfd open[256];
	int next = 0;

	for (int i = 0; i < 256; i++)
		open[i] = (struct pollfd){ .fd = -1, .events = POLLOUT };
	say_ready();
	while (!is_over(interval)) {
		struct sockaddr_storage to;
		socklen_t length = target(where[tried % targets], &to, 0);
		int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), slot = next++ % 256;

		tried++;
		connect(fd, (void *)&to, length);
		poll(open, 256, 0);
		for (int i = 0; i < 256; i++)
			if (open[i].fd >= 0 && open[i].revents) {
				int error = 0;
				socklen_t size = sizeof(error);

				getsockopt(open[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
				if (!error)
					let_in++;
				else if (error != ETIMEDOUT)
					heard++;
				close(open[i].fd);
				open[i].fd = -1;
			}
		if (open[slot].fd >= 0)
			close(open[slot].fd);
		open[slot].fd = fd;
	}
	printf("{\"tried\":%u,\"letIn\":%u,\"answered\":%u}\n", tried, let_in, heard);
	return 0;
}

int main(int count, char **words)
{
	struct rlimit files = { CONNECTIONS * 2, CONNECTIONS * 2 };

	setrlimit(RLIMIT_NOFILE, &files);
	if (count == 4 && !strcmp(words[1], "hear"))
		return hear(atoi(words[2]), atoi(words[3]));
	if (count > 3 && !strcmp(words[1], "send"))
		return send_numbered(atof(words[2]), count - 3, words + 3);
	if (count == 3 && !strcmp(words[1], "echo"))
		return echo(atoi(words[2]));
	if (count > 4 && !strcmp(words[1], "talk"))
		return talk(atoi(words[2]), atoi(words[3]), count - 4, words + 4);
	if (count > 3 && !strcmp(words[1], "dial"))
		return dial(atoi(words[2]), count - 3, words + 3);
	if (count > 3 && !strcmp(words[1], "knock"))
		return knock(atoi(words[2]), count - 3, words + 3);
	fprintf(stderr, "numbered: see the head of its source\n");
	return 2;
}
