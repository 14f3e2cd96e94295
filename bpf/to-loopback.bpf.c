// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the loopback of the node: what the node sends to addresses of its own. Node ports are there, for
 * processes whose sockets have no hooks, and answers of backends that are the node itself.
 */
#include "uplink.h"

char _license[] SEC("license") = "GPL";

/* 127.0.0.0/8 and ::1 */
static __always_inline int is_loopback(const struct address *address)
{
	if (is_v4(address))
		return address->bytes[12] == 127;
	return address->halves[0] == 0 && address->words[2] == 0 && address->words[3] == bpf_htonl(1);
}

SEC("tc")
int to_loopback(struct __sk_buff *skb)
{
	struct packet *p = uplink_packet();

	if (!p || !get_edge_settings() || parse_packet(skb, p) != PARSE_OK || is_loopback(&p->dst))
		return TC_ACT_OK;
	if (p->flags & PACKET_ICMP_ERROR)
		return nat_follow_error(skb, p, NAT_AT_UPLINK, NAT_AT_UPLINK) < 0 ? drop_at(skb, DROP_FAULT) : TC_ACT_OK;
	if (!has_ports(p) || ((p->flags & PACKET_FRAGMENT) && !know_ports(p)))
		return TC_ACT_OK;
	return from_node(skb, p);
}
