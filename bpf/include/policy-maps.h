/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Network policy, semantics of src/policy/tables.ts. Every key begins or ends with `copy`, 0 or 1: the agent writes
 * the copy that is not valid, then moves `generation` by one (its lowest bit names the valid copy), then lets the
 * other catch up. So a change takes effect all at once.
 */
#ifndef HEDDLE_POLICY_MAPS_H
#define HEDDLE_POLICY_MAPS_H

#include "packet.h"

enum policy_verdict {
	VERDICT_ALLOW = 0,
	VERDICT_DENY = 1,
	/* Allowed, and counted and told as one that would be denied. */
	VERDICT_AUDIT_DENY = 2,
	/* To a proxy's listener. */
	VERDICT_REDIRECT = 3,
	VERDICT_AUTH_REQUIRED = 4,
};

struct endpoint_key {
	__u32 copy;
	__u8 address[16] __attribute__((aligned(4)));
};

/* Table numbers; 0: not isolated. */
struct endpoint {
	__u32 ingress;
	__u32 egress;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* Single addresses, which are most. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct endpoint_key);
	__type(value, __u32);
} identity_hosts SEC(".maps");

/* Prefix: 32 + bits of the address, IPv4 ones 96 more. */
struct identity_range_key {
	__u32 prefix;
	__u8 copy;
	/* 4 or 6: ::/0 is no range of IPv4 addresses. */
	__u8 family;
	__u16 zero;
	__u8 address[16] __attribute__((aligned(4)));
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct identity_range_key);
	__type(value, __u32);
} identity_ranges SEC(".maps");

/*
 * One port, or protocol 0 and port 0 for every protocol. The default deny of a table is its entry of identity 0 and
 * every protocol, where the table has none of its own there.
 */
struct policy_key {
	__u32 table;
	__u32 identity;
	/* Network order. */
	__be16 port;
	__u8 protocol;
	__u8 copy;
};

struct policy_entry {
	__u32 rule;
	/* In `rule_counters`. */
	__u32 slot;
	/* enum policy_verdict */
	__u16 verdict;
	/* Of VERDICT_REDIRECT, network order. */
	__be16 listener;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
} policy_entries SEC(".maps");

/* Ranges of ports as prefixes: 80 + bits of the port. */
struct policy_range_key {
	__u32 prefix;
	__u32 table;
	__u32 identity;
	__u8 copy;
	__u8 protocol;
	__be16 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_range_key);
	__type(value, struct policy_entry);
} policy_ranges SEC(".maps");

/* Rule number → its slot, for the agent to find again after a restart. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} rule_slots SEC(".maps");

struct rule_counter {
	__u64 packets;
	__u64 bytes;
};

/* By slot; 0 is nobody's. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct rule_counter);
} rule_counters SEC(".maps");

static __always_inline void count_rule(__u32 slot, __u32 packets, __u32 bytes)
{
	struct rule_counter *counter;

	if (!slot)
		return;
	counter = bpf_map_lookup_elem(&rule_counters, &slot);
	if (!counter)
		return;
	counter->packets += packets;
	counter->bytes += bytes;
}

#endif
