/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Connections whose addresses are rewritten at tc, and what decides about it. Addresses are 16 bytes, IPv4 as
 * ::ffff:a.b.c.d; they and ports are in network order.
 */
#ifndef HEDDLE_NAT_MAPS_H
#define HEDDLE_NAT_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "counts.h"
#include "fragments.h"

#ifndef ADDRESS
#define ADDRESS __attribute__((aligned(4)))
#endif

/*
 * A connection is two entries: a packet as it arrives → as it leaves, and the same of its replies. Either one's
 * key is the other's value with its ends swapped, so that each finds, and mends, the other.
 */
struct nat_key {
	__u8 src[16] ADDRESS;
	__u8 dst[16] ADDRESS;
	__be16 sport; /* ICMP queries: the identifier at the asking end, 0 at the other */
	__be16 dport;
	__u8 protocol;
	/* 1: a pod's packet as it leaves for the outside, and not as the pod sent it. Both may have the same ends. */
	__u8 leaving;
	__u8 zeroes[2];
};

enum nat_flags {
	NAT_REPLY = 1,	       /* this entry is for packets of the server */
	NAT_AT_POD = 2,	       /* rewritten where pods' packets and those of the overlay arrive */
	NAT_AT_UPLINK = 4,     /* rewritten at the uplink */
	NAT_DSR = 8,	       /* the other direction never comes by here */
	NAT_ANSWERED = 16,     /* packets of the server were seen */
	NAT_FIN_REQUEST = 32,  /* TCP: the client has ended its half */
	NAT_FIN_REPLY = 64,    /* TCP: the server has */
	NAT_RESET = 128,       /* TCP: over */
	NAT_MASQUERADE = 256,  /* a pod's connection to the outside */
	NAT_SOURCE = 512,      /* the client's address is replaced by this node's */
	NAT_COUNTED = 1024,    /* it is among its backend's in `backend_flows` */
};

struct nat_value {
	__u8 src[16] ADDRESS;
	__u8 dst[16] ADDRESS;
	__be16 sport;
	__be16 dport;
	__u16 flags;
	__u16 zero;
	__u64 last;    /* monotonic clock, ns; kept to about a second */
	__u64 created; /* the same clock */
	__u32 backend; /* number in `backends`, 0 of what has none */
	__u32 packets; /* of this direction */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct nat_key);
	__type(value, struct nat_value);
} nat4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct nat_key);
	__type(value, struct nat_value);
} nat6 SEC(".maps");

/* A connection to be made: the packet's new ends, flags and backend of the entry. */
struct nat_plan {
	struct ends to;
	__u32 flags;
	__u32 backend;
};

/* Both halves of a connection that is being made: too much for the stack. */
struct nat_pair {
	struct nat_key request;
	struct nat_key reply;
	struct nat_value to;
	struct nat_value back;
	struct nat_plan plan;
	struct nat_key spare;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_pair);
} nat_scratch SEC(".maps");

enum nat_event {
	NAT_CREATED = 0,
	NAT_PORT_RETRIED = 1,	/* a source port was in use, another was tried */
	NAT_PORT_EXHAUSTED = 2, /* none of those tried was free */
	NAT_MENDED = 3,		/* one half had been evicted: the table is too small */
	NAT_EXPIRED = 4,	/* found too old and replaced */
	NAT_GAVE_WAY = 5,	/* to a newer one of the same pod, which has its share */
	NAT_EVENTS = 8,
};

COUNTS(nat_events, NAT_EVENTS, count_nat)

/* A pod's connections, by the link of the pod: `share` slots of each family, which are used in turn. */
struct nat_share_key {
	__u32 link;
	__u32 slot; /* the highest bit: of nat6 */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct nat_share_key);
	__type(value, struct nat_key); /* of the request */
} nat_shares SEC(".maps");

struct nat_user {
	__u32 next[2]; /* slots, of nat4 and of nat6 */
	__u64 created;
	__u64 gave_way;
	__u64 refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct nat_user);
} nat_users SEC(".maps");

struct edge_settings {
	__u8 node4[16] ADDRESS; /* what pods are seen as outside the cluster; zeroes: no such family */
	__u8 node6[16] ADDRESS;
	__u32 uplink;	/* ifindex */
	__u32 overlay;	/* ifindex of the tunnel to other nodes, 0: none */
	__be16 tunnel_port; /* these three as in struct node_state */
	__be16 tunnel_port2;
	__u16 hears;
	__u16 first_port; /* of address translation */
	__u32 ports;	  /* how many from there */
	__u32 share;	  /* connections that one pod may have in nat4, and in nat6; 0: all */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct edge_settings);
} edge_settings SEC(".maps");

/* What an address range is to this node. A longer prefix repeats the flags of those that hold it. */
enum net_flags {
	NET_OWN_POD = 1,
	NET_POD = 2,	    /* of any node */
	NET_SERVICE = 4,
	NET_UNDERLAY = 8,
	NET_OWN_NODE = 16,  /* an address of this node */
	NET_OTHER_NODE = 32, /* an address of another: an end of a tunnel */
};

/* Who is a client inside. */
#define NET_INSIDE (NET_POD | NET_OWN_NODE | NET_OTHER_NODE)
/* Whom pods reach by their own addresses. */
#define NET_CLUSTER (NET_POD | NET_SERVICE | NET_UNDERLAY | NET_OWN_NODE | NET_OTHER_NODE)

struct net_key {
	__u32 prefix; /* bits of `address` */
	__u8 address[16] ADDRESS;
};

struct net_value {
	__u32 flags;
	__u8 owner[16] ADDRESS; /* underlay address of the other node to whom it belongs, or zeroes */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct net_key);
	__type(value, struct net_value);
} edge_nets SEC(".maps");

/*
 * Direct server return: the service's address and port travel in the source MAC address of the inner frame,
 * which nobody reads in a tunnel that learns nothing. 28 bits of hash name the address here, 16 bits the port.
 */
struct dsr_address {
	__u8 address[16] ADDRESS;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct dsr_address);
} dsr_addresses SEC(".maps");

/* As of `fragments` in flow-maps.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} uplink_fragments SEC(".maps");

#endif
