/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Who is not heard at the uplink, and how much of everybody else. */
#ifndef HEDDLE_PROTECTION_MAPS_H
#define HEDDLE_PROTECTION_MAPS_H

#include "packet.h"

struct denied4_key {
	__u32 prefix;
	__u8 address[4];
};

struct denied6_key {
	__u32 prefix;
	__u8 address[16] __attribute__((aligned(4)));
};

/* Bytes of the value: nothing but being there counts. */
struct denial {
	__u32 denied;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct denied4_key);
	__type(value, struct denial);
} denied4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct denied6_key);
	__type(value, struct denial);
} denied6 SEC(".maps");

/* Neither denied nor limited, beside the nodes: from where the cluster is governed. */
struct spared_key {
	__u8 address[16] __attribute__((aligned(8)));
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct spared_key);
	__type(value, __u32);
} spared_addresses SEC(".maps");

enum protection_flags {
	PROTECT_DENY4 = 1,
	PROTECT_DENY6 = 2,
	PROTECT_LIMITS = 4,
};

/* A rate: nanoseconds that one costs (0: no limit), and how many nanoseconds may be owed. */
struct rate {
	__u64 cost;
	__u64 burst;
};

struct protection {
	/* Of each source. */
	struct rate packets;
	struct rate connections;
	/* Of all sources together. */
	struct rate all_connections;
	__u32 flags;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct protection);
} protection SEC(".maps");

/* An IPv4 address, or the first 64 bits of an IPv6 one: who has one of those has them all. */
struct source_key {
	__u8 address[16] __attribute__((aligned(8)));
};

/* The clock (monotonic, ns) at which what was taken is paid. */
struct source {
	__u64 packets_until;
	__u64 connections_until;
	/* Packets that were dropped for its rates. */
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct source_key);
	__type(value, struct source);
} sources SEC(".maps");

struct all_sources {
	__u64 connections_until;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct all_sources);
} all_sources SEC(".maps");

#endif
