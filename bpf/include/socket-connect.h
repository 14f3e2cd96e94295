/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What connect() and close() do, for both families. */
#ifndef HEDDLE_SOCKET_CONNECT_H
#define HEDDLE_SOCKET_CONNECT_H

#include "sockets.h"

static __always_inline void forget_service(struct socket_service *known)
{
	if (known->counted)
		count_connection(known->number, -1);
	known->counted = 0;
}

static __always_inline void remember_service(struct bpf_sock *sk, const struct frontend *frontend,
					     const struct endpoint *service, const struct endpoint *backend,
					     __u32 number)
{
	struct socket_service *known =
		bpf_sk_storage_get(&socket_services, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!known)
		return;
	forget_service(known);
	known->frontend = *service;
	known->backend = *backend;
	known->number = number;
	if (frontend->algorithm == ALGORITHM_LEAST_CONNECTION) {
		count_connection(number, 1);
		known->counted = 1;
	}
}

/* The socket goes somewhere else than to the service it was connected to, if it was. */
static __always_inline void leave_service(struct bpf_sock *sk, __u64 socket)
{
	struct socket_service *known = bpf_sk_storage_get(&socket_services, sk, 0, 0);

	if (!known)
		return;
	forget_service(known);
	bpf_sk_storage_delete(&socket_services, sk);
	bpf_map_delete_elem(&udp_connected, &socket);
}

/*
 * glibc and musl connect UDP sockets to any port only to see which source address the kernel would take: what
 * no frontend serves is then refused when something is sent.
 */
static __always_inline enum outcome connect_unserved(const struct endpoint *target, __u8 protocol)
{
	return protocol == IPPROTO_TCP && is_service_range(target) ? REFUSED : PASS;
}

static __always_inline enum outcome connect_service(struct bpf_sock_addr *ctx, struct endpoint *target)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	__u64 socket = bpf_get_socket_cookie(ctx);
	struct endpoint service = *target;
	struct service_client client = {};
	__u8 protocol = ctx->protocol;
	struct bpf_sock *sk = ctx->sk;
	struct frontend *frontend;
	struct backend *backend;
	__u32 number = 0;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return PASS;
	if (!bpf_map_lookup_elem(&netns_cookies, &netns) || !sk)
		return PASS;
	frontend = frontend_at(target, protocol);
	if (!frontend) {
		leave_service(sk, socket);
		return connect_unserved(target, protocol);
	}
	local_client(&client, netns, socket);
	backend = select_backend(frontend, SIDE_INSIDE, &client, &number);
	if (!backend) {
		leave_service(sk, socket);
		return frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? PASS : REFUSED;
	}
	copy_address(target->address, (const __u32 *)backend->address);
	target->port = backend->port;
	remember_service(sk, frontend, &service, target, number);
	if (protocol == IPPROTO_UDP) {
		struct udp_connection connection = {.netns = netns, .backend = number};

		bpf_map_update_elem(&udp_connected, &socket, &connection, BPF_ANY);
	}
	return MOVED;
}

static __always_inline bool connected_to(struct bpf_sock_addr *ctx, struct endpoint *peer)
{
	struct socket_service *known;

	if (!ctx->sk)
		return false;
	known = bpf_sk_storage_get(&socket_services, ctx->sk, 0, 0);
	if (!known || !same_endpoint(&known->backend, peer))
		return false;
	*peer = known->frontend;
	return true;
}

#endif
