/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The flow cache: what was decided for a connection and where its packets go, both directions in one entry. Losing
 * an entry loses counters and nothing else: the next packet is judged again.
 */
#ifndef HEDDLE_FLOW_MAPS_H
#define HEDDLE_FLOW_MAPS_H

#include "counts.h"
#include "fragments.h"
#include "packet.h"

/* The lesser end (address, then port, as bytes in memory say) comes first. Ports in network order. */
struct flow_key4 {
	__be32 low;
	__be32 high;
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 zero[3];
};

struct flow_key6 {
	__u8 low[16] __attribute__((aligned(8)));
	__u8 high[16] __attribute__((aligned(8)));
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 zero[3];
};

enum forward {
	/* As the node's routes say. */
	FORWARD_STACK = 0,
	/* Into the namespace behind `target`. */
	FORWARD_POD = 1,
	/* Out of the VXLAN device `target`. */
	FORWARD_OVERLAY = 2,
	/* By the link `target` to the pod behind it: what it is sent waits its turn there. */
	FORWARD_QUEUE = 3,
	/* Out of the link `target`, to whom the node's routes say. */
	FORWARD_ROUTED = 4,
};

/* One direction: what comes in at `link` goes out by `forward`. */
struct flow_way {
	/* 0: not known. */
	__u32 link;
	__u32 target;
	__u8 mac[6];
	__u8 source_mac[6];
	__u32 forward;
	__u64 packets;
	__u64 bytes;
};

enum flow_flags {
	/* A packet of the way back was seen. */
	FLOW_ANSWERED = 1,
	/* End of stream from the low and from the high end, or a reset. */
	FLOW_FIN_LOW = 2,
	FLOW_FIN_HIGH = 4,
	FLOW_RESET = 8,
	/* Translated by tc: no packet takes the short way. */
	FLOW_TRANSLATED = 16,
	FLOW_DENIED = 32,
	/* Cut while it lived, and the rule was egress. */
	FLOW_DENIED_EGRESS = 64,
	/* An audited policy would have denied it. */
	FLOW_AUDIT_DENIED = 128,
	/* Counts against the budget of the pod at `charged`. */
	FLOW_CHARGED = 256,
};

struct flow {
	/* Of `way[0]` the sender is the low end, of `way[1]` the high one. */
	struct flow_way way[2];
	/* Monotonic clock, ns. */
	__u64 first;
	__u64 last;
	__u32 generation;
	/* Seconds without a packet after which a packet begins a new connection. */
	__u32 idle;
	__u32 flags;
	/* 0: the low end began the connection; 1: the high one. */
	__u32 initiator;
	/* Of the client's end and of the server's; 0: nothing was decided there. */
	__u32 egress_rule;
	__u32 egress_slot;
	__u32 ingress_rule;
	__u32 ingress_slot;
	/* Link of the pod that pays for the entry. */
	__u32 charged;
	__u32 zero;
};

#define FLOWS 65536
/* Of pods that are over their budget: they push out each other. */
#define CROWD 16384

#define FLOW_MAP(name, key_type, entries)                 \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);      \
		__uint(max_entries, entries);             \
		__type(key, key_type);                    \
		__type(value, struct flow);               \
	} name SEC(".maps")

FLOW_MAP(flows4, struct flow_key4, FLOWS);
FLOW_MAP(flows6, struct flow_key6, FLOWS);
FLOW_MAP(crowd4, struct flow_key4, CROWD);
FLOW_MAP(crowd6, struct flow_key6, CROWD);

/*
 * Streams that policy cut while they lived, both families, and who began them, plus 1: once the cache has lost them,
 * their packets are not to be taken for those of a connection that the other end began.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key6);
	__type(value, __u32);
} cut_flows SEC(".maps");

/* What a new entry is put together in: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flow_scratch SEC(".maps");

/*
 * What a pod has of the cache, by its link: each new connection moves `until` on by `node_state.budget_interval`,
 * its end moves it back. While that is less than BUDGET_WINDOW ahead of the clock, entries go where all are; beyond,
 * into the crowd. So a flood from one pod pushes out its own entries, nobody else's.
 */
struct flow_budget {
	__u64 until;
	__u64 created;
	__u64 crowded;
};

#define BUDGET_WINDOW (30ULL * 1000000000)

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct flow_budget);
} flow_budgets SEC(".maps");

#define NEIGHBOURS_WINDOW (10ULL * 1000000000)
#define NEIGHBOURS_MAX 32

/* The same for neighbours that the stack is to find for a pod; `crowded` were dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct flow_budget);
} neighbour_budgets SEC(".maps");

enum flow_count {
	/* Entries made in flows4, flows6, crowd4, crowd6. */
	COUNT_CREATED4 = 0,
	COUNT_CREATED6 = 1,
	COUNT_CROWDED4 = 2,
	COUNT_CROWDED6 = 3,
	/* Judged again after a change. */
	COUNT_JUDGED_AGAIN = 4,
	/* Packets that did not take the short way. */
	COUNT_SLOW = 5,
	/* Entries that could not be made. */
	COUNT_FAILED = 6,
	/* Connections that were met in their middle. */
	COUNT_MIDSTREAM = 7,
	FLOW_COUNTS = 16,
};

COUNTS(flow_counts, FLOW_COUNTS, count_flow)

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} fragments SEC(".maps");

/* Returns the sender's way: 0 where it is the low end. */
static __always_inline __u32 make_key4(struct flow_key4 *key, __be32 src, __be32 dst, __be16 sport, __be16 dport,
				       __u8 protocol)
{
	__u32 way = src != dst ? src > dst : sport > dport;

	key->low = way ? dst : src;
	key->high = way ? src : dst;
	key->low_port = way ? dport : sport;
	key->high_port = way ? sport : dport;
	key->protocol = protocol;
	key->zero[0] = key->zero[1] = key->zero[2] = 0;
	return way;
}

static __always_inline __u32 make_key6(struct flow_key6 *key, const struct address *src, const struct address *dst,
				       __be16 sport, __be16 dport, __u8 protocol)
{
	__u32 way = src->halves[1] != dst->halves[1] ? src->halves[1] > dst->halves[1] :
		    src->halves[0] != dst->halves[0] ? src->halves[0] > dst->halves[0] :
						       sport > dport;
	__u64 *low = (__u64 *)key->low, *high = (__u64 *)key->high;

	low[0] = way ? dst->halves[0] : src->halves[0];
	low[1] = way ? dst->halves[1] : src->halves[1];
	high[0] = way ? src->halves[0] : dst->halves[0];
	high[1] = way ? src->halves[1] : dst->halves[1];
	key->low_port = way ? dport : sport;
	key->high_port = way ? sport : dport;
	key->protocol = protocol;
	key->zero[0] = key->zero[1] = key->zero[2] = 0;
	return way;
}

static __noinline struct flow *find_flow(const struct packet *p, __u32 *way)
{
	struct flow *flow;

	if (p->family == 4) {
		struct flow_key4 key;

		*way = make_key4(&key, p->src.words[3], p->dst.words[3], p->sport, p->dport, p->protocol);
		flow = bpf_map_lookup_elem(&flows4, &key);
		return flow ? flow : bpf_map_lookup_elem(&crowd4, &key);
	}
	struct flow_key6 key;

	*way = make_key6(&key, &p->src, &p->dst, p->sport, p->dport, p->protocol);
	flow = bpf_map_lookup_elem(&flows6, &key);
	return flow ? flow : bpf_map_lookup_elem(&crowd6, &key);
}

static __always_inline int is_idle(const struct flow *flow, __u64 now)
{
	return now > flow->last && now - flow->last > flow->idle * 1000000000ULL;
}

#endif
