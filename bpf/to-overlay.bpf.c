// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the tunnel's device. A link that the plan does not know reaches no other node; everything else that gets
 * here was let through where it came in. Answers of the node itself to a pod of another node, which asked for a service
 * at the uplink, get back the service's address.
 */
#include "uplink.h"

char _license[] SEC("license") = "GPL";

static __noinline int from_node_itself(struct __sk_buff *skb)
{
	struct packet *p = uplink_packet();
	__u32 flags = 0;
	int result;

	if (!p || parse_packet(skb, p) != PARSE_OK)
		return TC_ACT_OK;
	if (p->flags & PACKET_ICMP_ERROR)
		result = nat_follow_error(skb, p, NAT_AT_POD, NAT_AT_POD);
	else if (!has_ports(p) || ((p->flags & PACKET_FRAGMENT) && !know_ports(p)))
		return TC_ACT_OK;
	else
		result = nat_follow(skb, p, NAT_AT_POD | NAT_REPLY, NAT_AT_POD | NAT_REPLY, &flags);
	return result < 0 ? drop_at(skb, DROP_FAULT) : TC_ACT_OK;
}

SEC("tc")
int to_overlay(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex;

	/* Packets of a tunnel without frames are not what is read here. */
	if (!from)
		return link_kind(skb->ifindex) == LINK_OVERLAY ? from_node_itself(skb) : TC_ACT_OK;
	if (link_kind(from))
		return TC_ACT_OK;
	count_drop(DROP_UNKNOWN_LINK, skb->len);
	return TC_ACT_SHOT;
}
