// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the host side of a pod's link: what the node's stack delivers. What this node says itself is always
 * let through; what it forwards is judged like all that comes from elsewhere.
 */
#include "carry.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

static __noinline int to_pod_slow(struct __sk_buff *skb, __u32 from)
{
	struct pod *pod;
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	__u32 kind = link_kind(from);

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	/* A pod's packets come by `from_pod`, which hands them over itself; other links are nobody's. */
	if (kind != LINK_UPLINK && kind != LINK_OVERLAY)
		return drop(skb, DROP_UNKNOWN_LINK);
	if (parse_packet(skb, p) != PARSE_OK)
		return drop(skb, DROP_MALFORMED);
	pod = find_pod(&p->dst);
	if (!pod || pod->link != skb->ifindex)
		return drop(skb, DROP_NO_ROUTE);
	if (find_pod(&p->src))
		return drop(skb, DROP_SPOOFED);
	return carry_here(skb, p, ORIGIN_NODE, from);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex;
	int verdict;

	if (!from)
		return TC_ACT_OK;
	verdict = carry_quick(skb, from, 1);
	return verdict == QUICK_NO ? to_pod_slow(skb, from) : verdict;
}
