/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* sendto() and sendmsg() of a UDP socket, to IPv4 (of an IPv6 socket as well, where the address is mapped) */
#include "socket-datagrams.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct endpoint target = {};
	enum outcome outcome;

	read_target4(&target, ctx);
	outcome = send_to_service(ctx, &target);
	if (outcome == MOVED)
		write_target4(ctx, &target);
	return refused(outcome);
}
