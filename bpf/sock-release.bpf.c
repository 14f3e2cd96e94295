/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* A socket closes: its connection counts no more. */
#include "socket-connect.h"

char _license[] SEC("license") = "GPL";

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	struct socket_service *known = bpf_sk_storage_get(&socket_services, sk, 0, 0);
	__u64 socket;

	if (!known)
		return 1;
	forget_service(known);
	if (sk->protocol == IPPROTO_UDP) {
		socket = bpf_get_socket_cookie(sk);
		bpf_map_delete_elem(&udp_connected, &socket);
	}
	return 1;
}
