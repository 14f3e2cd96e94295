// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* tc ingress at the VXLAN device: what pods and stacks of other nodes send to pods of this one. */
#include "carry.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

static __noinline int from_overlay_slow(struct __sk_buff *skb)
{
	struct carry_memory *memory = carry_memory();
	struct packet *p;

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	if (parse_packet(skb, p) != PARSE_OK || (p->flags & PACKET_LINK_LOCAL))
		return drop(skb, DROP_MALFORMED);
	/* Who is of this node does not come from another. */
	if (find_pod(&p->src) || own_address_kind(&p->src) || is_link_local(&p->src))
		return drop(skb, DROP_SPOOFED);
	if (!find_pod(&p->dst))
		return drop(skb, DROP_NO_ROUTE);
	accept_dsr(skb, p);
	return carry_here(skb, p, ORIGIN_OVERLAY, skb->ifindex);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	int verdict = carry_quick(skb, skb->ifindex, 0);

	return verdict == QUICK_NO ? from_overlay_slow(skb) : verdict;
}
