// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc ingress at a tunnel whose packets have no frame, GRE: they get one, because everything else here and the pods'
 * links are of Ethernet. Then as from-overlay.bpf.c.
 */
#include "arrive.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

static __noinline int from_tunnel_slow(struct __sk_buff *skb)
{
	return arrive(skb, 0);
}

static __always_inline int put_in_frame(struct __sk_buff *skb)
{
	__be16 protocol = skb->protocol;

	/* Zeroes, but for what is inside. */
	return bpf_skb_change_head(skb, ETHERNET_LENGTH, 0) ||
	       bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol), 0);
}

SEC("tc")
int from_tunnel(struct __sk_buff *skb)
{
	int verdict;

	/* A dry packet is a frame already. */
	if (!is_dry(skb) && put_in_frame(skb)) {
		count_drop(DROP_FAULT, skb->len);
		return TC_ACT_SHOT;
	}
	verdict = carry_quick(skb, skb->ifindex, 0);
	return verdict == QUICK_NO ? from_tunnel_slow(skb) : verdict;
}
