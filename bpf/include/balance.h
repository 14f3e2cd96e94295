/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* How one of a frontend's backends is chosen. Used by the socket hooks, tc and XDP alike. */
#ifndef HEDDLE_BALANCE_H
#define HEDDLE_BALANCE_H

#include "service-maps.h"

/* Backends that least-connection compares: all of them up to this many, else this many drawn at random. */
#define LEAST_CONNECTION_DRAWS 16

#define NS_PER_SECOND 1000000000ULL

/*
 * Who asks. `affinity.client` (IPv4 as ::ffff:a.b.c.d; of a local socket `local_client`) decides for source-hash,
 * ring-hash and affinity, `flow` for maglev: anything that is equal for all packets of a connection, on every node.
 */
struct service_client {
	/* A key already: it would be on the stack twice. Its table is select_backend's. */
	struct affinity_key affinity;
	__u64 flow;
};

/* The finaliser of MurmurHash3: every bit of the input moves every bit of the output. */
static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

static __always_inline __u64 address_hash(const __u32 *address, __u64 seed)
{
	__u64 high = (__u64)address[0] << 32 | address[1], low = (__u64)address[2] << 32 | address[3];

	return mix64(high ^ mix64(low ^ seed));
}

/* `flow` of a packet, from 16-byte addresses and ports in network order. */
static __always_inline __u64 flow_hash(const __u32 *source, const __u32 *target, __be16 sport, __be16 dport,
				       __u8 protocol)
{
	__u64 ports = (__u64)sport << 32 | (__u64)dport << 16 | protocol;

	return address_hash(source, address_hash(target, ports));
}

/* A pod or node as a client of its own sockets. No address of a client begins with ff: those are multicast. */
static __always_inline void local_client(struct service_client *client, __u64 netns, __u64 socket)
{
	__u32 *address = (__u32 *)client->affinity.client;

	address[0] = ~0U;
	address[1] = ~0U;
	address[2] = netns >> 32;
	address[3] = netns;
	client->flow = mix64(netns ^ mix64(socket));
}

__noinline __u32 table_slot(const struct service_view *view, __u32 slot)
{
	if (!view)
		return 0;
	struct table_key key = {.table = view->table, .chunk = slot / SLOTS_PER_CHUNK};
	struct table_chunk *chunk;

	if (view->slots <= INLINE_SLOTS)
		return view->first[slot % INLINE_SLOTS];
	chunk = bpf_map_lookup_elem(&service_tables, &key);

	return chunk ? chunk->backend[slot % SLOTS_PER_CHUNK] : 0;
}

static __always_inline __u64 counted_in(void *map, __u32 *backend)
{
	__u64 *count = bpf_map_lookup_elem(map, backend);

	/* One too many releases (an agent that removed the count meanwhile) is no reason to shun a backend. */
	return count && (__s64)*count > 0 ? *count : 0;
}

static __always_inline __u64 connections_of(__u32 backend)
{
	return counted_in(&backend_connections, &backend) + counted_in(&backend_flows, &backend);
}

/* `by` is 1 for a connection that begins, -1 for one that ends. `map`: backend_connections or backend_flows. */
static __always_inline void count_in(void *map, __u32 backend, __s64 by)
{
	__u64 *count = bpf_map_lookup_elem(map, &backend);

	if (!count && by > 0) {
		__u64 none = 0;

		bpf_map_update_elem(map, &backend, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(map, &backend);
	}
	if (count)
		__sync_fetch_and_add(count, by);
}

/* Of a socket. */
static __always_inline void count_connection(__u32 backend, __s64 by)
{
	count_in(&backend_connections, backend, by);
}

/*
 * Functions that are not static are verified once, by themselves, instead of once for each way to them: see packet.h.
 */

/* Connections of the backend and one more, above its weight (the low 16 bits); 0: it takes none. */
__noinline __u64 backend_load(__u32 id)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	if (!backend || !backend->weight)
		return 0;
	return (connections_of(id) + 1) << 16 | backend->weight;
}

/* 1: `load` is less than `best`: count / weight, without division. */
__noinline int is_lighter(__u64 load, __u64 best)
{
	return load && (!best || (load >> 16) * (best & 0xffff) < (best >> 16) * (load & 0xffff));
}

static __always_inline __u32 least_connected(const struct service_view *view)
{
	__u32 start = bpf_get_prandom_u32();
	__u32 best = 0;
	__u64 best_load = 0;

	for (__u32 i = 0; i < LEAST_CONNECTION_DRAWS; i++) {
		if (i >= view->slots)
			break;
		__u32 at = view->slots <= LEAST_CONNECTION_DRAWS ? start + i : bpf_get_prandom_u32();
		__u32 id = table_slot(view, at % view->slots);
		__u64 load = backend_load(id);

		if (is_lighter(load, best_load)) {
			best = id;
			best_load = load;
		}
	}
	return best;
}

static __always_inline __u32 choose_slot(const struct frontend *frontend, const struct service_view *view,
					 const struct service_client *client)
{
	__u32 cursor = frontend->number % CURSORS;
	__u32 *next;

	switch (frontend->algorithm) {
	case ALGORITHM_ROUND_ROBIN:
		next = bpf_map_lookup_elem(&service_cursors, &cursor);
		return next ? __sync_fetch_and_add(next, 1) % view->slots : 0;
	case ALGORITHM_MAGLEV:
		return client->flow % view->slots;
	case ALGORITHM_RING_HASH:
	case ALGORITHM_SOURCE_HASH:
		return address_hash((const __u32 *)client->affinity.client, 0) % view->slots;
	default:
		return bpf_get_prandom_u32() % view->slots;
	}
}

__noinline __u32 draw(const struct frontend *frontend, const struct service_view *view,
		      const struct service_client *client)
{
	if (!frontend || !view || !client || !view->slots)
		return 0;
	if (frontend->algorithm == ALGORITHM_LEAST_CONNECTION)
		return least_connected(view);
	return table_slot(view, choose_slot(frontend, view, client));
}

static __always_inline struct backend *affine_backend(const struct affinity_key *key,
						      const struct frontend *frontend, __u32 side,
						      __u64 now, __u32 *id)
{
	struct affinity *known = bpf_map_lookup_elem(&affinities, key);
	struct backend *backend;

	if (!known || now - known->last >= frontend->affinity_seconds * NS_PER_SECOND)
		return 0;
	*id = known->backend;
	backend = bpf_map_lookup_elem(&backends, id);
	if (!backend || !backend->weight || !(backend->flags & side) || backend->frontend != frontend->number)
		return 0;
	known->last = now;
	return backend;
}

/*
 * The backend of a new connection, or 0 where there is none. `side` is SIDE_INSIDE or SIDE_OUTSIDE; `*id`
 * names the backend in `backends` and `backend_connections`.
 */
static __always_inline struct backend *select_backend(const struct frontend *frontend, __u32 side,
						      struct service_client *client, __u32 *id)
{
	struct service_view view = side == SIDE_OUTSIDE ? frontend->outside : frontend->inside;
	__u32 seconds = frontend->affinity_seconds;
	struct backend *backend;
	__u64 now = 0;

	if (!view.slots)
		return 0;
	if (seconds) {
		now = bpf_ktime_get_ns();
		client->affinity.table = view.table;
		backend = affine_backend(&client->affinity, frontend, side, now, id);
		if (backend)
			return backend;
	}
	*id = draw(frontend, &view, client);
	backend = bpf_map_lookup_elem(&backends, id);
	if (!backend) {
		/* Removed between two look-ups: its slot has another by now. */
		*id = draw(frontend, &view, client);
		backend = bpf_map_lookup_elem(&backends, id);
	}
	if (backend && seconds) {
		struct affinity fresh = {.last = now, .backend = *id};

		bpf_map_update_elem(&affinities, &client->affinity, &fresh, BPF_ANY);
	}
	return backend;
}

#endif
