/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Where an address is, and the way there. */
#ifndef HEDDLE_FORWARD_H
#define HEDDLE_FORWARD_H

#include "flow-maps.h"
#include "pod-maps.h"

enum place_kind {
	/* The node itself, the outside: as the node's routes say. */
	PLACE_ELSEWHERE = 0,
	PLACE_POD = 1,
	PLACE_REMOTE = 2,
	/* In this node's range, and no pod of it. */
	PLACE_NOBODY = 3,
};

struct place {
	__u16 kind;
	/* Of a pod: `enum pod_flags`. Of another node's: not 0 where routes lead there. */
	__u16 flags;
	/* Where packets of it come from. */
	__u32 link;
	__u8 mac[6];
	__u8 source_mac[6];
};

/* Of a packet's ends: PLACE_POD where that is known, anything else where it is yet to be asked. */
struct places {
	struct place from;
	struct place to;
};

/* Of a packet that was judged, on its way through the queue of its pod's link. */
#define MARK_JUDGED 0x68656471

static __always_inline int place_pod(struct place *out, const struct pod *pod)
{
	out->link = pod->link;
	out->flags = pod->flags;
	__builtin_memcpy(out->mac, pod->mac, 6);
	__builtin_memcpy(out->source_mac, pod->host_mac, 6);
	return out->kind = PLACE_POD;
}

__noinline int locate(const struct address *address, struct place *out)
{
	struct pod_range *range;
	struct node_state *node;
	struct address key;
	struct pod *pod;

	if (!address || !out)
		return PLACE_NOBODY;
	/* An argument is no key for Linux 6.1: what is on the stack is. */
	__builtin_memcpy(&key, address, sizeof(key));
	pod = find_pod(&key);
	__builtin_memset(out, 0, sizeof(*out));
	if (pod)
		return place_pod(out, pod);
	range = find_range(&key);
	if (!range)
		return PLACE_ELSEWHERE;
	if (range->kind == RANGE_HERE)
		return out->kind = PLACE_NOBODY;
	node = get_node_state();
	if (!node || !node->overlay_link)
		return PLACE_ELSEWHERE;
	out->link = node->overlay_link;
	out->flags = node->routed != 0;
	__builtin_memcpy(out->mac, range->mac, 6);
	__builtin_memcpy(out->source_mac, node->overlay_mac, 6);
	return out->kind = PLACE_REMOTE;
}

static __always_inline int same_mac(const void *a, const void *b)
{
	const __u16 *left = a, *right = b;

	return left[0] == right[0] && left[1] == right[1] && left[2] == right[2];
}

/* Whether the frame's sender has this MAC address. */
static __always_inline int comes_from(struct __sk_buff *skb, const __u8 *mac)
{
	struct ethhdr *ethernet = as_pointer(skb->data);

	return (void *)(ethernet + 1) <= as_pointer(skb->data_end) && same_mac(ethernet->h_source, mac);
}

static __always_inline void set_way(struct flow_way *way, const struct place *to)
{
	way->forward = to->kind == PLACE_POD ? (to->flags & POD_QUEUED ? FORWARD_QUEUE : FORWARD_POD) :
		       to->kind == PLACE_REMOTE ? (to->flags ? FORWARD_ROUTED : FORWARD_OVERLAY) :
						    FORWARD_STACK;
	way->target = way->forward == FORWARD_STACK ? 0 : to->link;
	__builtin_memcpy(way->mac, to->mac, 6);
	__builtin_memcpy(way->source_mac, to->source_mac, 6);
}

/* What does not fit the tunnel is for the stack, which tells the sender. */
static __always_inline int fits_overlay(struct __sk_buff *skb, __u32 link)
{
	struct node_state *node = get_node_state();
	__u32 mtu = 0;

	if (node && skb->len - ETHERNET_LENGTH <= node->overlay_mtu)
		return 1;
	return bpf_check_mtu(skb, link, &mtu, 0, BPF_MTU_CHK_SEGS) == 0;
}

/* Sends the packet on, one hop older; without time left the stack drops it and says so. Only from tc ingress. */
static __always_inline int forward_packet(struct __sk_buff *skb, const struct flow_way *way)
{
	void *data = as_pointer(skb->data), *end = as_pointer(skb->data_end);
	struct ethhdr *ethernet = data;

	if (way->forward == FORWARD_STACK)
		return TC_ACT_OK;
	if ((way->forward == FORWARD_OVERLAY || way->forward == FORWARD_ROUTED) && !fits_overlay(skb, way->target))
		return TC_ACT_OK;
	if (data + ETHERNET_LENGTH + sizeof(struct iphdr) > end)
		return TC_ACT_SHOT;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETHERNET_LENGTH;
		__u32 sum = ip->check + (__u32)bpf_htons(0x0100);

		if (ip->ttl <= 1)
			return TC_ACT_OK;
		/* RFC 1624: the sum moves against the field. */
		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + ETHERNET_LENGTH;

		if ((void *)(ip + 1) > end)
			return TC_ACT_SHOT;
		if (ip->hop_limit <= 1)
			return TC_ACT_OK;
		ip->hop_limit--;
	}
	if (way->forward == FORWARD_ROUTED)
		return bpf_redirect_neigh(way->target, 0, 0, 0);
	__builtin_memcpy(ethernet->h_dest, way->mac, 6);
	__builtin_memcpy(ethernet->h_source, way->source_mac, 6);
	if (way->forward == FORWARD_POD)
		return bpf_redirect_peer(way->target, 0);
	if (way->forward == FORWARD_QUEUE)
		skb->mark = MARK_JUDGED;
	return bpf_redirect(way->target, 0);
}

#endif
