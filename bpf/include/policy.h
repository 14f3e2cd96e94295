/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What policy says of a connection: the client's egress, then the server's ingress, each where it is a pod of ours. */
#ifndef HEDDLE_POLICY_H
#define HEDDLE_POLICY_H

#include "events.h"
#include "policy-maps.h"

enum judged {
	JUDGED_ALLOW = 0,
	JUDGED_DENY_EGRESS = 1,
	JUDGED_DENY_INGRESS = 2,
};

/* `rule` 0: nothing was decided on that side. */
struct judgement {
	struct decision egress;
	struct decision ingress;
	__u32 judged;
	__u32 audit_denied;
};

static __always_inline __u32 identity_of(const struct address *address, __u32 copy)
{
	struct endpoint_key host = { .copy = copy };
	struct identity_range_key range = { .prefix = 160, .copy = copy, .family = is_v4(address) ? 4 : 6 };
	__u32 *identity;

	__builtin_memcpy(host.address, address, sizeof(host.address));
	identity = bpf_map_lookup_elem(&identity_hosts, &host);
	if (identity)
		return *identity;
	__builtin_memcpy(range.address, address, sizeof(range.address));
	identity = bpf_map_lookup_elem(&identity_ranges, &range);
	return identity ? *identity : 0;
}

struct question {
	__u32 table;
	__u32 identity;
	__u32 copy;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

/* (identity, protocol, port), then (identity, any). */
static __always_inline struct policy_entry *entry_of(const struct question *q, __u32 identity)
{
	struct policy_key key = {
		.table = q->table,
		.identity = identity,
		.port = q->port,
		.protocol = q->protocol,
		.copy = q->copy,
	};
	struct policy_range_key range = {
		.prefix = 96,
		.table = q->table,
		.identity = identity,
		.copy = q->copy,
		.protocol = q->protocol,
		.port = q->port,
	};
	struct policy_entry *entry = bpf_map_lookup_elem(&policy_entries, &key);

	if (entry)
		return entry;
	entry = bpf_map_lookup_elem(&policy_ranges, &range);
	if (entry)
		return entry;
	key.port = 0;
	key.protocol = 0;
	return bpf_map_lookup_elem(&policy_entries, &key);
}

/* 0: may pass. A table that is not there (yet) denies, without a rule. */
__noinline int judge_side(const struct question *q, struct decision *by)
{
	struct policy_entry *entry;

	if (!q || !by)
		return 1;
	entry = q->identity ? entry_of(q, q->identity) : 0;
	if (!entry)
		entry = entry_of(q, 0);
	if (!entry) {
		by->verdict = VERDICT_DENY;
		return 1;
	}
	by->rule = entry->rule;
	by->slot = entry->slot;
	by->verdict = entry->verdict;
	return by->verdict != VERDICT_ALLOW && by->verdict != VERDICT_AUDIT_DENY;
}

static __always_inline struct endpoint *find_endpoint(const struct address *address, __u32 copy)
{
	struct endpoint_key key = { .copy = copy };

	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&endpoints, &key);
}

/* `reply`: the packet goes from the server to the client. */
__noinline int judge(const struct packet *p, __u32 reply, __u32 copy, struct judgement *out)
{
	const struct address *client, *server;
	struct question q = { .copy = copy };
	struct endpoint *endpoint;

	if (!p || !out)
		return JUDGED_DENY_EGRESS;
	client = reply ? &p->dst : &p->src;
	server = reply ? &p->src : &p->dst;
	__builtin_memset(out, 0, sizeof(*out));
	q.protocol = p->protocol;
	/* Identifiers of ICMP are no ports. */
	q.port = is_icmp(p) ? 0 : reply ? p->sport : p->dport;
	if (same_address(client, server))
		return JUDGED_ALLOW;
	endpoint = find_endpoint(client, copy);
	if (endpoint && endpoint->egress) {
		q.table = endpoint->egress;
		q.identity = identity_of(server, copy);
		if (judge_side(&q, &out->egress))
			return out->judged = JUDGED_DENY_EGRESS;
	}
	endpoint = find_endpoint(server, copy);
	if (endpoint && endpoint->ingress) {
		q.table = endpoint->ingress;
		q.identity = identity_of(client, copy);
		if (judge_side(&q, &out->ingress))
			return out->judged = JUDGED_DENY_INGRESS;
	}
	out->audit_denied =
		out->egress.verdict == VERDICT_AUDIT_DENY || out->ingress.verdict == VERDICT_AUDIT_DENY;
	return JUDGED_ALLOW;
}

/* What was judged of connections between two addresses to one port. */
struct precedent {
	struct address client, server;
	/* Monotonic clock, ns; 0: nothing yet. */
	__u64 until;
	__u32 generation;
	/* Of the server, network order; of ICMP 0. */
	__be16 port;
	__u8 protocol;
	__u8 zero;
	struct judgement judgement;
};

#define PRECEDENTS_BITS 10
/* So long what was done to the tables without a new generation, by hand, goes unseen. */
#define PRECEDENT_LIFE 1000000000ULL

/* By a hash of the ends, the latest of each. Each CPU has its own: nobody else reads what one is writing. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << PRECEDENTS_BITS);
	__type(key, __u32);
	__type(value, struct precedent);
} precedents SEC(".maps");

/* The place for the connection's precedent, and what it has to be of. */
static __always_inline struct precedent *precedent_of(const struct packet *p, __u32 reply, struct precedent *of)
{
	__u64 hash;
	__u32 index;

	of->client = reply ? p->dst : p->src;
	of->server = reply ? p->src : p->dst;
	of->port = is_icmp(p) ? 0 : reply ? p->sport : p->dport;
	hash = of->client.halves[1] + of->client.halves[0] + of->port;
	hash = hash * 0x9e3779b97f4a7c15ULL + of->server.halves[1] + of->server.halves[0];
	index = hash * 0x9e3779b97f4a7c15ULL >> (64 - PRECEDENTS_BITS);
	return bpf_map_lookup_elem(&precedents, &index);
}

/* 1: there is one, of this generation. */
__noinline int recall(const struct packet *p, __u32 reply, __u32 generation, struct judgement *out)
{
	struct precedent *last, of;

	if (!p || !out)
		return 0;
	last = precedent_of(p, reply, &of);
	if (!last || last->until <= bpf_ktime_get_coarse_ns() || last->generation != generation ||
	    last->port != of.port || last->protocol != p->protocol || !same_address(&last->client, &of.client) ||
	    !same_address(&last->server, &of.server))
		return 0;
	*out = last->judgement;
	return 1;
}

__noinline int remember(const struct packet *p, __u32 reply, __u32 generation, const struct judgement *j)
{
	struct precedent *last, of;

	if (!p || !j)
		return 0;
	last = precedent_of(p, reply, &of);
	if (!last)
		return 0;
	last->client = of.client;
	last->server = of.server;
	last->until = bpf_ktime_get_coarse_ns() + PRECEDENT_LIFE;
	last->generation = generation;
	last->port = of.port;
	last->protocol = p->protocol;
	last->judgement = *j;
	return 0;
}

/*
 * As `judge`, by the copy of this generation. Who connects once connects again: what was judged is found by one
 * look-up where judging takes six and more.
 */
static __always_inline int judge_like(const struct packet *p, __u32 reply, __u32 generation, struct judgement *out)
{
	if (!recall(p, reply, generation, out)) {
		judge(p, reply, generation & 1, out);
		remember(p, reply, generation, out);
	}
	return out->judged;
}

#endif
