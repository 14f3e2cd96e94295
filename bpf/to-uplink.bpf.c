// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the uplink: answers of backends get back the service's address, pods that speak to the outside this
 * node's, and what the node itself sends to a service, unseen by its sockets' hooks, is translated.
 */
#include "uplink.h"

char _license[] SEC("license") = "GPL";

/* A pod's connection to the outside, where it leaves. */
#define LEAVING (NAT_AT_UPLINK | NAT_MASQUERADE)

static __noinline int masquerade(struct __sk_buff *skb, struct packet *p)
{
	struct nat_plan *plan = get_nat_plan();
	__u32 failed;

	/* Without ports nothing would tell whose the answers are. */
	if (!plan || (p->flags & PACKET_ICMP_ERROR) || !(has_ports(p) || (is_icmp(p) && p->sport)))
		return drop_at(skb, DROP_UNTRANSLATABLE);
	ends_of(p, &plan->to);
	plan->backend = 0;
	plan->flags = NAT_AT_UPLINK | NAT_MASQUERADE | NAT_SOURCE;
	if (own_address(p, &plan->to.src))
		return drop_at(skb, DROP_NO_ROUTE);
	failed = nat_create(skb, p);
	if (failed)
		return drop_at(skb, failed);
	return rewrite(skb, p, &plan->to) ? drop_at(skb, DROP_FAULT) : TC_ACT_OK;
}

/* Whoever outside knows the way to a pod, by BGP, began it, and is answered by the address that was asked. */
static __always_inline int is_answer(const struct packet *p)
{
	__u32 way = 0;
	struct flow *flow = find_flow(p, &way);

	return flow && way != flow->initiator;
}

SEC("tc")
int to_uplink(struct __sk_buff *skb)
{
	struct edge_settings *settings = get_edge_settings();
	struct packet *p = uplink_packet();
	__u32 from, flags = 0, mode;
	int result;

	/* Frames that a packet socket wrote may be anything; what is no IP is none of ours. */
	if (!settings || !p || parse_packet(skb, p) != PARSE_OK)
		return TC_ACT_OK;
	if ((p->flags & PACKET_LINK_LOCAL) || is_link_local(&p->src) || is_link_local(&p->dst))
		return TC_ACT_OK;
	/* A link that the plan does not know reaches no pod of another node. */
	if (skb->ingress_ifindex && (settings->hears & HEARS_NATIVE) && (net_flags_of(&p->dst) & NET_POD) &&
	    !link_kind(skb->ingress_ifindex))
		return drop_at(skb, DROP_UNKNOWN_LINK);
	from = net_flags_of(&p->src);
	if ((from & NET_OWN_NODE) &&
	    is_of_tunnel(p, settings->tunnel_port, settings->tunnel_port2, settings->hears))
		return TC_ACT_OK;
	if ((p->flags & PACKET_FRAGMENT) && !know_ports(p))
		return from & NET_OWN_POD ? drop_at(skb, DROP_FRAGMENT) : TC_ACT_OK;
	if (p->flags & PACKET_ICMP_ERROR) {
		result = nat_follow_error(skb, p, NAT_AT_UPLINK, NAT_AT_UPLINK);
		if (!result)
			result = nat_follow_error(skb, p, LEAVING, LEAVING);
		return result < 0 ? drop_at(skb, DROP_FAULT) : TC_ACT_OK;
	}
	if (!(from & NET_OWN_POD)) {
		/* Sent by `from_uplink`, which has translated it. */
		if (skb->ingress_ifindex)
			return TC_ACT_OK;
		return has_ports(p) ? from_node(skb, p) : TC_ACT_OK;
	}
	/* An answer, also to one whom the pod asks by these very ends; or what programs have kept that knew no `leaving`. */
	result = nat_follow(skb, p, NAT_AT_UPLINK, NAT_AT_UPLINK, &flags);
	if (!result)
		result = nat_follow(skb, p, LEAVING, LEAVING, &flags);
	if (result)
		return result < 0 ? drop_at(skb, DROP_FAULT) : TC_ACT_OK;
	mode = handover_mode();
	if (is_anothers(p, mode))
		return mode == HANDOVER_HOLD ? drop_at(skb, DROP_HANDOVER) : TC_ACT_OK;
	if ((net_flags_of(&p->dst) & NET_CLUSTER) || is_answer(p))
		return TC_ACT_OK;
	if (mode == HANDOVER_HOLD && p->protocol == IPPROTO_TCP && !is_begin(p))
		return drop_at(skb, DROP_HANDOVER);
	return masquerade(skb, p);
}
