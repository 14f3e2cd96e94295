/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* sendto() and sendmsg() of a UDP socket, to IPv6 */
#include "socket-datagrams.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct endpoint target = {};
	enum outcome outcome;

	read_target6(&target, ctx);
	outcome = send_to_service(ctx, &target);
	if (outcome == MOVED)
		write_target6(ctx, &target);
	return refused(outcome);
}
