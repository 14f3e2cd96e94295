/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* connect() of an IPv6 socket, to an IPv4-mapped address as well */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	struct endpoint target = {};
	enum outcome outcome;

	read_target6(&target, ctx);
	outcome = connect_service(ctx, &target);
	if (outcome == MOVED)
		write_target6(ctx, &target);
	return refused(outcome);
}
