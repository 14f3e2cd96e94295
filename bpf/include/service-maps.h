/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Services as the kernel holds them. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d, in network order, as
 * are ports. A frontend has a table of backend numbers; whatever the algorithm, a connection draws one slot
 * of it (balance.h). The agent writes backends first, then tables, then the frontend, and removes in the
 * other order: a reader never follows a number that leads nowhere.
 */
#ifndef HEDDLE_SERVICE_MAPS_H
#define HEDDLE_SERVICE_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Read and written by words; structs that begin with one have no padding. */
#define ADDRESS __attribute__((aligned(4)))

#define SLOTS_PER_CHUNK 32
#define INLINE_SLOTS 4
#define CURSORS 65536

/* Clients of the cluster (pods, this node), and all others. Also the bits of `backend.flags`. */
#define SIDE_INSIDE 1
#define SIDE_OUTSIDE 2
/* In `backend.flags`: a pod of this node. */
#define BACKEND_LOCAL 4

/* In `frontend.flags` */
#define FRONTEND_DROP_WHEN_EMPTY 1
#define FRONTEND_DSR 2
#define FRONTEND_SOURCE_RANGES 4

enum service_algorithm {
	ALGORITHM_RANDOM = 0,
	ALGORITHM_ROUND_ROBIN = 1,
	ALGORITHM_LEAST_CONNECTION = 2,
	ALGORITHM_MAGLEV = 3,
	ALGORITHM_RING_HASH = 4,
	ALGORITHM_SOURCE_HASH = 5,
};

enum service_kind {
	KIND_CLUSTER_IP = 0,
	KIND_NODE_PORT = 1,
	KIND_EXTERNAL_IP = 2,
	KIND_LOAD_BALANCER = 3,
};

enum service_range {
	RANGE_NONE = 0,
	RANGE_SERVICES = 1,   /* what has no frontend is refused */
	RANGE_NODE_LOCAL = 2, /* the node answers itself */
};

struct frontend_key {
	__u8 address[16] ADDRESS;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

struct service_view {
	__u32 table;
	__u32 slots;		   /* 0: nobody serves this side */
	__u32 first[INLINE_SLOTS]; /* the table itself, where it is no longer than this */
};

struct frontend {
	struct service_view inside;
	struct service_view outside;
	__u32 number;
	__u32 affinity_seconds; /* 0: none */
	__u8 algorithm;
	__u8 kind;
	__u16 flags;
};

struct table_key {
	__u32 table;
	__u32 chunk;
};

struct table_chunk {
	__u32 backend[SLOTS_PER_CHUNK];
};

struct backend {
	__u8 address[16] ADDRESS;
	__be16 port;
	__u16 weight;	/* 0: drains, takes no new connection */
	__u32 frontend; /* its number */
	__u32 flags;
};

struct service_range_key {
	__u32 prefix; /* bits of `address` */
	__u8 address[16] ADDRESS;
};

struct source_range_key {
	__u32 prefix;	/* 32 + bits of `address` */
	__u32 frontend; /* its number */
	__u8 address[16] ADDRESS;
};

struct affinity_key {
	__u8 client[16] ADDRESS;
	__u32 table;
};

struct affinity {
	__u64 last; /* monotonic clock, ns */
	__u32 backend;
	__u32 zeroes;
};

/* A hash map takes 16 bytes for each entry that it might have, whether it has it or not. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
} frontends SEC(".maps");

/* Backend number → backend. Numbers are never used again while the agent remembers any. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct table_key);
	__type(value, struct table_chunk);
} service_tables SEC(".maps");

/* Where round robin stands, by frontend number modulo CURSORS. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CURSORS);
	__type(key, __u32);
	__type(value, __u32);
} service_cursors SEC(".maps");

/*
 * Backend number → connections open, of least-connection frontends only: those of this node's sockets, and those that
 * tc translates, which the agent counts again (src/datapath/ebpf/edge/recount.ts).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} backend_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} backend_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} affinities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_range_key);
	__type(value, __u32);
} service_ranges SEC(".maps");

/* Sources that may use a frontend with FRONTEND_SOURCE_RANGES. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_range_key);
	__type(value, __u32);
} source_ranges SEC(".maps");

static __always_inline void copy_address(void *to, const __u32 *from)
{
	__u32 *words = to;

	words[0] = from[0];
	words[1] = from[1];
	words[2] = from[2];
	words[3] = from[3];
}

/* `address` is 16 bytes. */
static __always_inline struct frontend *find_frontend(const __u32 *address, __u8 protocol, __be16 port)
{
	struct frontend_key key = {.port = port, .protocol = protocol};

	copy_address(key.address, address);
	return bpf_map_lookup_elem(&frontends, &key);
}

/* Of an address without a frontend: what its range says. */
static __always_inline __u32 service_range_of(const __u32 *address)
{
	struct service_range_key key = {.prefix = 128};
	__u32 *range;

	copy_address(key.address, address);
	range = bpf_map_lookup_elem(&service_ranges, &key);
	return range ? *range : RANGE_NONE;
}

static __always_inline int source_allowed(const struct frontend *frontend, const __u32 *source)
{
	struct source_range_key key = {.prefix = 32 + 128, .frontend = frontend->number};

	if (!(frontend->flags & FRONTEND_SOURCE_RANGES))
		return 1;
	copy_address(key.address, source);
	return bpf_map_lookup_elem(&source_ranges, &key) != 0;
}

#endif
