/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Who is where: pods of this node, ranges and tunnel ends of the others, the node itself. */
#ifndef HEDDLE_POD_MAPS_H
#define HEDDLE_POD_MAPS_H

#include "packet.h"

#define MAC_LENGTH 6

/* An address of a pod of this node. */
struct pod_key {
	__u8 address[16] __attribute__((aligned(8)));
};

struct pod {
	/* Index of the host side of its link: only there may the address send. */
	__u32 link;
	/* The pod's end, and the host's. */
	__u8 mac[MAC_LENGTH];
	__u8 host_mac[MAC_LENGTH];
	__u32 flags;
};

enum pod_flags {
	/* A limit of what it is sent: a queue at `link`, which packets must not pass by. */
	POD_QUEUED = 1,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pod_key);
	__type(value, struct pod);
} pods SEC(".maps");

enum link_kind {
	LINK_POD = 1,
	LINK_UPLINK = 2,
	/* A tunnel whose packets are frames, and one whose are not. */
	LINK_OVERLAY = 3,
	LINK_TUNNEL = 4,
};

/* Links of this node by index. What comes from any other is forwarded to nobody. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} links SEC(".maps");

enum own_address {
	/* Of the node. */
	OWN_NODE = 1,
	/* Answered on the node beside them: cluster DNS. */
	OWN_LOCAL = 2,
	/* In the pods' range and no pod's: other nodes prove the path to it. */
	OWN_PROBED = 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct pod_key);
	__type(value, __u32);
} own_addresses SEC(".maps");

/* Prefix: bits of the address, IPv4 ones 96 more. */
struct range_key {
	__u32 prefix;
	__u8 address[16] __attribute__((aligned(4)));
};

enum range_kind {
	RANGE_REMOTE = 1,
	/* Of this node: what is no pod of it gets nothing. */
	RANGE_HERE = 2,
};

/* Whose pods are where. */
struct pod_range {
	/* Of another node's tunnel end; the forwarding entries of the VXLAN device know where that is. */
	__u8 mac[MAC_LENGTH];
	__u16 kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct range_key);
	__type(value, struct pod_range);
} pod_ranges SEC(".maps");

/* Underlay addresses of all nodes, this one too: 2 where a tunnel of another node ends, else 1. */
enum node_address {
	NODE_ADDRESS = 1,
	NODE_TUNNEL_END = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pod_key);
	__type(value, __u32);
} node_addresses SEC(".maps");

struct node_state {
	/* The link by which packets leave for other nodes: of a tunnel, or the uplink; 0: none. */
	__u32 overlay_link;
	/* Of the packets that pods send through it, from the network header on. */
	__u32 overlay_mtu;
	/* Nanoseconds for which one new connection counts against its pod, see flow-maps.h. */
	__u64 budget_interval;
	__u8 overlay_mac[MAC_LENGTH];
	/* Of VXLAN, GENEVE, or both, in network order; 0: none. */
	__be16 tunnel_port;
	__be16 tunnel_port2;
	/* enum hears */
	__u16 hears;
	/* Not 0: the node's routes say to which node, not the frame's address. */
	__u32 routed;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct node_state);
} node_state SEC(".maps");

/*
 * Counts changes of what was decided by. A flow that was judged in another generation is judged again. The lowest
 * bit says which copy of the policy maps is valid.
 */
struct policy_generation {
	__u32 number;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct policy_generation);
} generation SEC(".maps");

static __always_inline struct pod *find_pod(const struct address *address)
{
	return bpf_map_lookup_elem(&pods, address);
}

static __always_inline __u32 own_address_kind(const struct address *address)
{
	__u32 *kind = bpf_map_lookup_elem(&own_addresses, address);

	return kind ? *kind : 0;
}

static __always_inline struct pod_range *find_range(const struct address *address)
{
	struct range_key key = { .prefix = 128 };

	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&pod_ranges, &key);
}

static __always_inline __u32 link_kind(__u32 link)
{
	__u32 *kind = bpf_map_lookup_elem(&links, &link);

	return kind ? *kind : 0;
}

static __always_inline struct node_state *get_node_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node_state, &zero);
}

static __always_inline __u32 current_generation(void)
{
	__u32 zero = 0;
	struct policy_generation *value = bpf_map_lookup_elem(&generation, &zero);

	return value ? *(volatile __u32 *)&value->number : 0;
}

/* The end of a tunnel believes whoever reaches it: pods may not, and of the underlay only other nodes' ends. */
static __always_inline int is_tunnel_packet(const struct packet *p, const struct node_state *node)
{
	return node && is_of_tunnel(p, node->tunnel_port, node->tunnel_port2, node->hears);
}

static __always_inline __u32 node_address_kind(const struct address *address)
{
	__u32 *kind = bpf_map_lookup_elem(&node_addresses, address);

	return kind ? *kind : 0;
}

#endif
