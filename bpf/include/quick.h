/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The short way: a packet of TCP or UDP, without options, of a connection that was decided and of which nothing has
 * changed. One look-up. Whatever else takes the long way, carry.h, and so do all that ask for a connection.
 */
#ifndef HEDDLE_QUICK_H
#define HEDDLE_QUICK_H

#include "flow.h"

#define QUICK_NO (-2)

enum quick_use {
	QUICK_CARRY,
	/* What a pod sends: with its own MAC address, which answers are sent to. */
	QUICK_CARRY_POD,
	/* Judged and counted; where it goes others know. */
	QUICK_JUDGE,
};

/* Of an entry that knows this packet's way, or 0. */
static __always_inline struct flow *quick_flow(void *data, void *end, __u32 *way, __u8 *protocol, __u8 *tcp_flags)
{
	struct ethhdr *ethernet = data;
	__be16 *ports;

	if (data + ETHERNET_LENGTH + sizeof(struct iphdr) + 8 > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETHERNET_LENGTH;
		struct flow_key4 key;

		if (*(__u8 *)ip != 0x45 || (ip->frag_off & bpf_htons(0x3fff)))
			return 0;
		*protocol = ip->protocol;
		ports = (void *)(ip + 1);
		if (*protocol == IPPROTO_TCP) {
			if ((void *)ports + 20 > end)
				return 0;
			*tcp_flags = ((__u8 *)ports)[13];
			if (is_syn(*tcp_flags))
				return 0;
		} else if (*protocol != IPPROTO_UDP) {
			return 0;
		}
		*way = make_key4(&key, ip->saddr, ip->daddr, ports[0], ports[1], *protocol);
		return bpf_map_lookup_elem(&flows4, &key);
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETHERNET_LENGTH;
		struct flow_key6 key;

		if ((void *)(ip + 1) + 8 > end || ip->version != 6)
			return 0;
		*protocol = ip->nexthdr;
		ports = (void *)(ip + 1);
		if (*protocol == IPPROTO_TCP) {
			if ((void *)ports + 20 > end)
				return 0;
			*tcp_flags = ((__u8 *)ports)[13];
			if (is_syn(*tcp_flags))
				return 0;
		} else if (*protocol != IPPROTO_UDP) {
			return 0;
		}
		struct address src, dst;

		set_v6(&src, &ip->saddr);
		set_v6(&dst, &ip->daddr);
		*way = make_key6(&key, &src, &dst, ports[0], ports[1], *protocol);
		return bpf_map_lookup_elem(&flows6, &key);
	}
	return 0;
}

/* `link`: where the packet came in; only there may the entry's sender be. QUICK_NO: nothing is done. */
static __always_inline int carry_quick(struct __sk_buff *skb, __u32 link, enum quick_use use)
{
	__u32 way = 0;
	__u8 protocol = 0, tcp_flags = 0;
	struct flow *flow =
		quick_flow(as_pointer(skb->data), as_pointer(skb->data_end), &way, &protocol, &tcp_flags);
	__u64 now;

	if (!flow || flow->generation != current_generation())
		return QUICK_NO;
	way &= 1;
	if (flow->way[way].link != link || (flow->flags & (FLOW_TRANSLATED | FLOW_DENIED)))
		return QUICK_NO;
	if (use == QUICK_CARRY_POD && !comes_from(skb, flow->way[way ^ 1].mac))
		return QUICK_NO;
	now = bpf_ktime_get_coarse_ns();
	if (is_idle(flow, now))
		return QUICK_NO;
	note_packet(flow, way, protocol, tcp_flags, now);
	count_packet(flow, way, packets_of(skb), bytes_of(skb));
	if (use == QUICK_JUDGE)
		return TC_ACT_OK;
	return forward_packet(skb, &flow->way[way]);
}

#endif
