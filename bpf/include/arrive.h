/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What pods and stacks of other nodes send to pods of this one, by whatever way it came. */
#ifndef HEDDLE_ARRIVE_H
#define HEDDLE_ARRIVE_H

#include "dry-carry.h"

/* 0, or why not. */
static __always_inline int admit_arrival(const struct packet *p)
{
	/* Who is of this node does not come from another. */
	if (find_pod(&p->src) || own_address_kind(&p->src) || is_link_local(&p->src))
		return DROP_SPOOFED;
	return find_pod(&p->dst) ? 0 : DROP_NO_ROUTE;
}

/* `framed`: the frame is what the other node wrote. */
static __always_inline int arrive(struct __sk_buff *skb, int framed)
{
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	int admitted;

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	if (parse_packet(skb, p) != PARSE_OK || (p->flags & PACKET_LINK_LOCAL))
		return turn_away(skb, DROP_MALFORMED);
	admitted = admit_arrival(p);
	if (is_dry(skb))
		return dry_carry(skb, ORIGIN_OVERLAY, skb->ifindex, admitted);
	if (admitted)
		return drop(skb, admitted);
	if (framed)
		accept_dsr(skb, p);
	return carry_here(skb, p, ORIGIN_OVERLAY, skb->ifindex);
}

#endif
