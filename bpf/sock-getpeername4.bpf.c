/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* getpeername() of an IPv4 socket: it is connected to what it asked for. */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/getpeername4")
int sock_getpeer4(struct bpf_sock_addr *ctx)
{
	struct endpoint peer = {};

	read_target4(&peer, ctx);
	if (connected_to(ctx, &peer))
		write_target4(ctx, &peer);
	return 1;
}
