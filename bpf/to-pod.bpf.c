// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the host side of a pod's link: what the node's stack delivers. What this node says itself is always
 * let through; what it forwards is judged like all that comes from elsewhere.
 */
#include "dry-carry.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

/* 0, or why not. */
static __always_inline int admit(struct __sk_buff *skb, const struct packet *p)
{
	struct pod *pod = find_pod(&p->dst);

	if (!pod || pod->link != skb->ifindex)
		return DROP_NO_ROUTE;
	return find_pod(&p->src) ? DROP_SPOOFED : 0;
}

/* Where the node or the outside is a backend, its answers get back the service's address. */
static __noinline int to_pod_unjudged(struct __sk_buff *skb)
{
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	int result = TR_NONE;

	if (!memory)
		return TC_ACT_OK;
	p = &memory->packet;
	if (parse_packet(skb, p) != PARSE_OK)
		return TC_ACT_OK;
	if (is_dry(skb))
		return dry_carry(skb, ORIGIN_NODE, 0, ADMIT_HERE);
	if (p->flags & PACKET_ICMP_ERROR)
		result = translate_icmp_inner(skb, p);
	else if (!(p->flags & PACKET_FRAGMENT) || !fragment_ports_of(p))
		result = translate_reply(skb, p);
	return result == TR_DROP ? drop(skb, DROP_FAULT) : TC_ACT_OK;
}

static __noinline int to_pod_slow(struct __sk_buff *skb, __u32 from)
{
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	__u32 kind = link_kind(from);
	int admitted;

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	/* A pod's packets come by `from_pod`, which hands them over itself; other links are nobody's. */
	if (kind != LINK_UPLINK && kind != LINK_OVERLAY && kind != LINK_TUNNEL)
		return turn_away(skb, DROP_UNKNOWN_LINK);
	if (parse_packet(skb, p) != PARSE_OK)
		return turn_away(skb, DROP_MALFORMED);
	admitted = admit(skb, p);
	if (is_dry(skb))
		return dry_carry(skb, ORIGIN_NODE, from, admitted);
	if (admitted)
		return drop(skb, admitted);
	return carry_here(skb, p, ORIGIN_NODE, from);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex, mode;
	int verdict;

	if (!from)
		return to_pod_unjudged(skb);
	/* No pod can have set it: a mark ends with the namespace. Others' links of the node are not believed. */
	if (skb->mark == MARK_JUDGED && link_kind(from)) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	verdict = carry_quick(skb, from, QUICK_JUDGE);
	if (verdict != QUICK_NO)
		return verdict;
	mode = handover_mode();
	/* The other data path has judged what the stack forwards, and does not know what is translated here. */
	return mode && mode != HANDOVER_HOLD ? to_pod_unjudged(skb) : to_pod_slow(skb, from);
}
