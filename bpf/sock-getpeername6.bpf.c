/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* getpeername() of an IPv6 socket: it is connected to what it asked for. */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/getpeername6")
int sock_getpeer6(struct bpf_sock_addr *ctx)
{
	struct endpoint peer = {};

	read_target6(&peer, ctx);
	if (connected_to(ctx, &peer))
		write_target6(ctx, &peer);
	return 1;
}
