/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What connect() and close() do, for both families. */
#ifndef HEDDLE_SOCKET_CONNECT_H
#define HEDDLE_SOCKET_CONNECT_H

#include "sockets.h"

static __always_inline void uncount(struct bpf_sock *sk)
{
	__u32 *number = bpf_sk_storage_get(&socket_counts, sk, 0, 0);

	if (number && *number) {
		count_connection(*number, -1);
		*number = 0;
	}
}

static __always_inline void count_socket(struct bpf_sock *sk, __u32 backend)
{
	__u32 *number = bpf_sk_storage_get(&socket_counts, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!number)
		return;
	*number = backend;
	count_connection(backend, 1);
}

static __always_inline struct socket_slot *slot_of(__u64 socket)
{
	__u32 index = socket % SOCKET_SLOTS;

	return bpf_map_lookup_elem(&socket_slots, &index);
}

static __always_inline void forget_elsewhere(__u64 socket)
{
	if (bpf_map_lookup_elem(&socket_services, &socket))
		bpf_map_delete_elem(&socket_services, &socket);
}

static __always_inline void forget_socket(__u64 socket)
{
	struct socket_slot *slot = slot_of(socket);

	if (slot && slot->socket == socket) {
		/* The agent may look at it between the next one's cookie and what that one writes. */
		*(volatile __u32 *)&slot->service.number = 0;
		*(volatile __u64 *)&slot->socket = 0;
	}
	forget_elsewhere(socket);
}

static __always_inline void remember_socket(__u64 socket, __u8 protocol, const struct socket_service *service)
{
	struct socket_slot *slot = slot_of(socket);

	/* Nobody else writes to a slot with this socket's cookie. */
	if (slot && (slot->socket == socket || !__sync_val_compare_and_swap(&slot->socket, 0, socket))) {
		slot->service = *service;
		/* From when its slot was taken: it would be cut with the backend it left. */
		if (protocol == IPPROTO_UDP)
			forget_elsewhere(socket);
	} else {
		bpf_map_update_elem(&socket_services, &socket, service, BPF_ANY);
	}
}

static __always_inline struct socket_service *service_of(__u64 socket)
{
	struct socket_slot *slot = slot_of(socket);

	if (slot && slot->socket == socket)
		return &slot->service;
	return bpf_map_lookup_elem(&socket_services, &socket);
}

/*
 * The socket goes somewhere else than to the service it was connected to, if it was. What a TCP socket leaves behind
 * is compared with its peer before it is believed; a UDP socket would be cut with the backend it left.
 */
static __always_inline void leave_service(struct bpf_sock *sk, __u64 socket, __u8 protocol)
{
	uncount(sk);
	if (protocol == IPPROTO_UDP)
		forget_socket(socket);
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
	struct socket_service known = {};
	struct service_client client = {};
	__u8 protocol = ctx->protocol;
	struct bpf_sock *sk = ctx->sk;
	__u32 *owner;
	struct frontend *frontend = 0;
	struct backend *backend = 0;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return PASS;
	owner = bpf_map_lookup_elem(&netns_cookies, &netns);
	if (!owner || !sk)
		return PASS;
	local_client(&client, netns, socket);
	/* A second time where the backend was removed between the look-ups. */
	for (int tries = 0; tries < 2 && !backend; tries++) {
		frontend = frontend_at(target, protocol, *owner);
		if (!frontend) {
			leave_service(sk, socket, protocol);
			return connect_unserved(target, protocol);
		}
		backend = select_backend(frontend, SIDE_INSIDE, &client, &known.number);
		if (!known.number)
			break;
	}
	if (!backend || !frontend) {
		leave_service(sk, socket, protocol);
		return frontend && frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? PASS : REFUSED;
	}
	known.netns = netns;
	known.frontend = *target;
	copy_address(target->address, (const __u32 *)backend->address);
	target->port = backend->port;
	known.backend = *target;
	uncount(sk);
	if (frontend->algorithm == ALGORITHM_LEAST_CONNECTION)
		count_socket(sk, known.number);
	remember_socket(socket, protocol, &known);
	return MOVED;
}

static __always_inline bool connected_to(struct bpf_sock_addr *ctx, struct endpoint *peer)
{
	__u64 socket = bpf_get_socket_cookie(ctx);
	struct socket_service *known = service_of(socket);

	if (!known || !same_endpoint(&known->backend, peer))
		return false;
	*peer = known->frontend;
	return true;
}

#endif
