/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* A socket closes: its connection counts no more. */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	uncount(sk);
	forget_socket(bpf_get_socket_cookie(sk));
	return 1;
}
