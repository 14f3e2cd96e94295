/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What sendto() and recvfrom() of UDP sockets do, for both families. */
#ifndef HEDDLE_SOCKET_DATAGRAMS_H
#define HEDDLE_SOCKET_DATAGRAMS_H

#include "socket-connect.h"

/* A backend that drains keeps the sessions it has; one that was removed has no number any more. */
static __always_inline struct backend *session_backend(const struct udp_key *key, const struct frontend *frontend,
						       __u64 now)
{
	struct udp_session *session = bpf_map_lookup_elem(&udp_sessions, key);
	struct backend *backend;
	__u32 number;

	if (!session || now - session->last >= UDP_SESSION_NS)
		return 0;
	number = session->backend;
	backend = bpf_map_lookup_elem(&backends, &number);
	if (backend && backend->frontend != frontend->number)
		return 0;
	if (backend && now - session->last >= UDP_REFRESH_NS)
		session->last = now;
	return backend;
}

static __always_inline struct backend *begin_session(const struct udp_key *key, const struct frontend *frontend,
						     __u64 netns, __u64 now)
{
	struct udp_session session = {.last = now};
	struct udp_key reverse = {.socket = key->socket};
	struct service_client client = {};
	struct backend *backend;

	local_client(&client, netns, key->socket);
	backend = select_backend(frontend, SIDE_INSIDE, &client, &session.backend);
	if (!backend)
		return 0;
	copy_address(reverse.peer.address, (const __u32 *)backend->address);
	reverse.peer.port = backend->port;
	bpf_map_update_elem(&udp_sessions, key, &session, BPF_ANY);
	bpf_map_update_elem(&udp_peers, &reverse, &key->peer, BPF_ANY);
	return backend;
}

static __always_inline enum outcome send_to_service(struct bpf_sock_addr *ctx, struct endpoint *target)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct udp_key key = {.socket = bpf_get_socket_cookie(ctx), .peer = *target};
	__u32 *owner = bpf_map_lookup_elem(&netns_cookies, &netns);
	__u64 now = bpf_ktime_get_ns();
	struct frontend *frontend = 0;
	struct backend *backend = 0;

	if (ctx->protocol != IPPROTO_UDP || !owner)
		return PASS;
	/* A second time where the backend was removed between the look-ups. */
	for (int tries = 0; tries < 2 && !backend; tries++) {
		frontend = frontend_at(target, IPPROTO_UDP, *owner);
		if (!frontend)
			return is_service_range(target) ? REFUSED : PASS;
		backend = session_backend(&key, frontend, now);
		if (!backend)
			backend = begin_session(&key, frontend, netns, now);
	}
	if (!backend || !frontend)
		return frontend && frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? PASS : REFUSED;
	copy_address(target->address, (const __u32 *)backend->address);
	target->port = backend->port;
	return MOVED;
}

static __always_inline bool received_from(struct bpf_sock_addr *ctx, struct endpoint *peer)
{
	struct udp_key key = {.socket = bpf_get_socket_cookie(ctx), .peer = *peer};
	struct endpoint *service;

	if (connected_to(ctx, peer))
		return true;
	service = bpf_map_lookup_elem(&udp_peers, &key);
	if (!service)
		return false;
	*peer = *service;
	return true;
}

#endif
