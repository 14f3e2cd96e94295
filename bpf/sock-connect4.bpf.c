/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* connect() of an IPv4 socket */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	struct endpoint target = {};
	enum outcome outcome;

	read_target4(&target, ctx);
	outcome = connect_service(ctx, &target);
	if (outcome == MOVED)
		write_target4(ctx, &target);
	return refused(outcome);
}
