/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Services for sockets of this node: the address is exchanged when a socket connects or sends, so that no
 * packet carries a service's address and none needs to be tracked. Which sockets are this node's is told by
 * their network namespace: several nodes may share a kernel and a parent cgroup.
 */
#ifndef HEDDLE_SOCKETS_H
#define HEDDLE_SOCKETS_H

#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include "balance.h"

#define ECONNREFUSED 111

/* Unconnected UDP: one socket stays at one backend of a service until it was silent so long. */
#define UDP_SESSION_NS (120 * NS_PER_SECOND)
/* Writing a shared cache line for each datagram is dear: the time is noted this often. */
#define UDP_REFRESH_NS NS_PER_SECOND

/* 1 where the kernel has bpf_set_retval (5.18); without it those refused see EPERM. */
const volatile __u8 can_set_retval = 0;

struct endpoint {
	__u8 address[16] ADDRESS;
	__be16 port;
	__u16 zero;
};

/* What a connected socket was told and where it really is. */
struct socket_service {
	__u64 netns; /* cookie */
	struct endpoint frontend;
	struct endpoint backend;
	__u32 number; /* the backend's */
	__u32 zero;
};

/* A cache line. */
struct socket_slot {
	__u64 socket; /* cookie; 0: free */
	struct socket_service service;
};

struct udp_key {
	__u64 socket; /* cookie */
	struct endpoint peer;
	__u32 zero;
};

struct udp_session {
	__u64 last; /* monotonic clock, ns */
	__u32 backend;
	__u32 zero;
};

/* In `netns_cookies` */
#define OWNER_NODE 0

/* Cookie of a network namespace → number of the pod, or OWNER_NODE. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} netns_cookies SEC(".maps");

/* Whose node ports the node's own sockets find at 127.0.0.0/8 and at ::1; zeroes: nobody's. */
struct socket_settings {
	__u8 loopback4[16] ADDRESS;
	__u8 loopback6[16] ADDRESS;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct socket_settings);
} socket_settings SEC(".maps");

/*
 * What connected sockets are to their services, until they close: a socket's slot is its cookie modulo the slots.
 * Cookies are given out in order, so that a taken slot is mostly one of a socket that is open for long.
 */
#define SOCKET_SLOTS 8192

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SOCKET_SLOTS);
	__type(key, __u32);
	__type(value, struct socket_slot);
} socket_slots SEC(".maps");

/*
 * The same for sockets whose slot is taken, by cookie: writing here takes half a microsecond, and a socket's own
 * storage a whole one. Beyond so many a socket says its backend's address.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct socket_service);
} socket_services SEC(".maps");

/* Number of the backend in whose count this socket is, of least-connection only. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} socket_counts SEC(".maps");

/* Socket and service → backend */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct udp_key);
	__type(value, struct udp_session);
} udp_sessions SEC(".maps");

/* Socket and backend → service */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct udp_key);
	__type(value, struct endpoint);
} udp_peers SEC(".maps");

enum outcome { PASS, MOVED, REFUSED };

static __always_inline void mapped_address(__u8 *to, __u32 ip)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ip;
}

static __always_inline void read_target4(struct endpoint *target, const struct bpf_sock_addr *ctx)
{
	mapped_address(target->address, ctx->user_ip4);
	target->port = ctx->user_port;
}

static __always_inline void read_target6(struct endpoint *target, const struct bpf_sock_addr *ctx)
{
	__u32 *words = (__u32 *)target->address;

	words[0] = ctx->user_ip6[0];
	words[1] = ctx->user_ip6[1];
	words[2] = ctx->user_ip6[2];
	words[3] = ctx->user_ip6[3];
	target->port = ctx->user_port;
}

static __always_inline void write_target4(struct bpf_sock_addr *ctx, const struct endpoint *target)
{
	ctx->user_ip4 = ((const __u32 *)target->address)[3];
	ctx->user_port = target->port;
}

static __always_inline void write_target6(struct bpf_sock_addr *ctx, const struct endpoint *target)
{
	const __u32 *words = (const __u32 *)target->address;

	ctx->user_ip6[0] = words[0];
	ctx->user_ip6[1] = words[1];
	ctx->user_ip6[2] = words[2];
	ctx->user_ip6[3] = words[3];
	ctx->user_port = target->port;
}

static __always_inline bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	const __u32 *x = (const __u32 *)a->address, *y = (const __u32 *)b->address;

	return a->port == b->port && x[3] == y[3] && x[2] == y[2] && x[1] == y[1] && x[0] == y[0];
}

/* A pod's loopback is its own, and only node ports are at the node's. */
static __always_inline struct frontend *loopback_frontend(const struct endpoint *target, __u8 protocol)
{
	const __u32 *words = (const __u32 *)target->address;
	struct socket_settings *settings;
	struct frontend *frontend;
	__u32 zero = 0;
	int is_v4 = words[2] == bpf_htonl(0xffff) && target->address[12] == 127;
	int is_v6 = !words[2] && words[3] == bpf_htonl(1);

	if (words[0] || words[1] || !(is_v4 || is_v6))
		return 0;
	settings = bpf_map_lookup_elem(&socket_settings, &zero);
	if (!settings)
		return 0;
	frontend = find_frontend((const __u32 *)(is_v4 ? settings->loopback4 : settings->loopback6), protocol,
				 target->port);
	return frontend && frontend->kind == KIND_NODE_PORT ? frontend : 0;
}

/* `owner` as in `netns_cookies`. */
static __always_inline struct frontend *frontend_at(const struct endpoint *target, __u8 protocol, __u32 owner)
{
	struct frontend *frontend = find_frontend((const __u32 *)target->address, protocol, target->port);

	return frontend || owner != OWNER_NODE ? frontend : loopback_frontend(target, protocol);
}

static __always_inline bool is_service_range(const struct endpoint *target)
{
	return service_range_of((const __u32 *)target->address) == RANGE_SERVICES;
}

static __always_inline int refused(enum outcome outcome)
{
	if (outcome != REFUSED)
		return 1;
	if (can_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}

#endif
