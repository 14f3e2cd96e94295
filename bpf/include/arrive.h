/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What pods and stacks of other nodes send to pods of this one, by whatever way it came. */
#ifndef HEDDLE_ARRIVE_H
#define HEDDLE_ARRIVE_H

#include "dry-carry.h"

/* PROBE_PORT of src/datapath/path/wire.ts */
#define PATH_PROBE_PORT 7248

/* From another node, for this one's agent to answer. */
static __always_inline int is_path_probe(const struct packet *p)
{
	return p->protocol == IPPROTO_UDP && p->dport == bpf_htons(PATH_PROBE_PORT) &&
	       own_address_kind(&p->dst) == OWN_PROBED;
}

/* 0, or why not. */
static __always_inline int admit_arrival(const struct packet *p)
{
	/* Who is of this node does not come from another. */
	if (find_pod(&p->src) || own_address_kind(&p->src) || is_link_local(&p->src))
		return DROP_SPOOFED;
	return find_pod(&p->dst) || is_path_probe(p) ? 0 : DROP_NO_ROUTE;
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
	if (is_path_probe(p))
		return TC_ACT_OK;
	if (framed)
		accept_dsr(skb, p);
	return carry_here(skb, p, ORIGIN_OVERLAY, skb->ifindex);
}

#endif
