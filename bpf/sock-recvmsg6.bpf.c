/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* recvfrom() and recvmsg() of an IPv6 UDP socket: what a backend sent came from the service. */
#include "socket-datagrams.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint peer = {};

	read_target6(&peer, ctx);
	if (received_from(ctx, &peer))
		write_target6(ctx, &peer);
	return 1;
}
