// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* tc ingress at the VXLAN device: what pods and stacks of other nodes send to pods of this one. */
#include "dry-carry.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

/* 0, or why not. */
static __always_inline int admit(const struct packet *p)
{
	/* Who is of this node does not come from another. */
	if (find_pod(&p->src) || own_address_kind(&p->src) || is_link_local(&p->src))
		return DROP_SPOOFED;
	return find_pod(&p->dst) ? 0 : DROP_NO_ROUTE;
}

static __noinline int from_overlay_slow(struct __sk_buff *skb)
{
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	int admitted;

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	if (parse_packet(skb, p) != PARSE_OK || (p->flags & PACKET_LINK_LOCAL))
		return turn_away(skb, DROP_MALFORMED);
	admitted = admit(p);
	if (is_dry(skb))
		return dry_carry(skb, ORIGIN_OVERLAY, skb->ifindex, admitted);
	if (admitted)
		return drop(skb, admitted);
	accept_dsr(skb, p);
	return carry_here(skb, p, ORIGIN_OVERLAY, skb->ifindex);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	int verdict = carry_quick(skb, skb->ifindex, 0);

	return verdict == QUICK_NO ? from_overlay_slow(skb) : verdict;
}
