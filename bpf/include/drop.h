/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Why packets were not let through, counted. The names are those of src/datapath/ebpf/drops.ts. */
#ifndef HEDDLE_DROP_H
#define HEDDLE_DROP_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* Numbers are kept for ever: counters outlive the programs that wrote them. */
enum drop_reason {
	DROP_POLICY = 1,	  /* network policy */
	DROP_SPOOFED = 2,	  /* a source address that is not the sender's */
	DROP_MALFORMED = 3,	  /* headers that cannot be read */
	DROP_UNKNOWN_LINK = 4,	  /* a pod's link that the plan does not know */
	DROP_NO_BACKEND = 5,	  /* a service that has none and drops in silence */
	DROP_SOURCE_RANGE = 6,	  /* loadBalancerSourceRanges */
	DROP_NO_PORT = 7,	  /* every port tried for address translation is in use */
	DROP_UNTRANSLATABLE = 8,  /* a protocol without ports that would have to be translated */
	DROP_TUNNEL = 9,	  /* tunnel traffic of somebody who is no node */
	DROP_DENIED = 10,	  /* the uplink's deny list */
	DROP_PACKET_RATE = 11,	  /* more packets than one source may send */
	DROP_CONNECTION_RATE = 12, /* more new connections than one source may begin */
	DROP_TOO_BIG = 13,	  /* does not fit the next link; the sender was told */
	DROP_FRAGMENT = 14,	  /* a later fragment whose first was not seen */
	DROP_EXPIRED = 15,	  /* time to live */
	DROP_NO_ROUTE = 16,	  /* nowhere to forward to */
	DROP_REFUSED = 17,	  /* answered with a reset or port unreachable */
	DROP_BANDWIDTH = 18,	  /* a pod's bandwidth limit */
	DROP_NOT_OUTSIDE = 19,	  /* a service address that is not for clients outside */
	DROP_FAULT = 20,	  /* a helper failed: rewriting, room for headers */
	DROP_SHARE = 21,	  /* a pod has as many translated connections as it may */
	DROP_NEIGHBOUR = 22,	  /* a pod that asks for too many neighbours that do not answer */
	DROP_HANDOVER = 23,	  /* of a connection that other programs know, while a build goes over to another */
	DROP_WRONG_MAC = 24,	  /* a pod's packet whose sender's MAC address is not the pod's */
	DROP_ARP_SPOOFED = 25,	  /* ARP in somebody else's name */
	DROP_NEIGHBOUR_SPOOFED = 26, /* Neighbour Discovery in somebody else's name */
	DROP_ROUTER_ADVERTISEMENT = 27, /* of a pod, which is no router */
	DROP_REDIRECT = 28,	  /* of a pod, which is no router */
	DROP_OVERSIZED = 29,	  /* a fragment that ends beyond 65,535 bytes */
	DROP_REASONS = 32,
};

struct drop_counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASONS);
	__type(key, __u32);
	__type(value, struct drop_counter);
} drop_counters SEC(".maps");

static __always_inline void count_drop(__u32 reason, __u32 bytes)
{
	struct drop_counter *counter = bpf_map_lookup_elem(&drop_counters, &reason);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}

#endif
