/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What both directions of the uplink share: fragments, and sending on what the stack would not. */
#ifndef HEDDLE_UPLINK_H
#define HEDDLE_UPLINK_H

#include "handover.h"
#include "route.h"
#include "translate.h"

/* Of an answer that this node gave itself, on its way to its own stack. */
#define MARK_ANSWER 0x68656464

static __always_inline int drop_at(struct __sk_buff *skb, __u32 reason)
{
	count_drop(reason, skb->len - ETHERNET_LENGTH);
	return TC_ACT_SHOT;
}

/* The packet at hand: the stack is 512 bytes for all that calls each other. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} uplink_scratch SEC(".maps");

static __always_inline struct packet *uplink_packet(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&uplink_scratch, &zero);
}

/* 0 where the first fragment was not seen. */
static __noinline int know_ports(struct packet *p)
{
	return !exchange_ports(&uplink_fragments, p);
}

static __always_inline int age(struct __sk_buff *skb, const struct packet *p)
{
	void *data = as_pointer(skb->data), *end = as_pointer(skb->data_end);

	if (p->ttl <= 1)
		return -1;
	if (p->family == 4) {
		struct iphdr *ip = data + ETHERNET_LENGTH;
		__u32 sum;

		if ((void *)(ip + 1) > end)
			return -1;
		/* RFC 1624: the sum moves against the field. */
		sum = ip->check + (__u32)bpf_htons(0x0100);
		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + ETHERNET_LENGTH;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->hop_limit--;
	}
	return 0;
}

static __always_inline int may_fragment(struct __sk_buff *skb, const struct packet *p)
{
	__be16 fragment = 0;

	if (p->family == 6 || bpf_skb_load_bytes(skb, p->l3 + 6, &fragment, 2))
		return 0;
	return !(fragment & bpf_htons(0x4000));
}

/* Whole, or the first fragment of a datagram of IPv6, whose sender makes smaller ones when it is told. */
static __always_inline int may_be_told(const struct packet *p)
{
	if (p->flags & PACKET_ICMP_ERROR)
		return 0;
	if (!(p->flags & (PACKET_FRAGMENT | PACKET_OPTIONS)))
		return 1;
	return p->family == 6 && p->protocol == IPPROTO_UDP && (p->flags & PACKET_FRAGMENT) &&
	       !(p->flags & PACKET_LATER) && p->l4 == p->l3 + sizeof(struct ipv6hdr) + 8;
}

/* Tells the client that its packet does not fit, in the words it sent: `original` are its ends. */
__noinline int tell_too_big(struct __sk_buff *skb, struct packet *p, const struct ends *original, __u32 mtu)
{
	if (!p || !original)
		return TC_ACT_SHOT;
	struct icmp_error too_big = {
		.type = p->family == 4 ? 3 : 2,
		.code = p->family == 4 ? 4 : 0,
		.extra = bpf_htonl(mtu),
	};
	struct address from;

	count_drop(DROP_TOO_BIG, skb->len - ETHERNET_LENGTH);
	if (!may_be_told(p) || own_address(p, &from) ||
	    rewrite(skb, p, original) || swap_macs(skb) || make_error(skb, p, &from, &too_big))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int is_overlay(__u32 link)
{
	struct edge_settings *settings = get_edge_settings();

	return settings && settings->overlay == link;
}

/*
 * Sends a rewritten packet on as the node's routes say. Not by the stack: that drops what comes in with an address
 * of its own as the source. `original`: the ends before. `dsr`: the source MAC address instead of the link's.
 */
struct mac {
	__u8 bytes[6];
};

/* The route says the tunnel's other end, which bpf_fib_lookup does not tell. */
static __always_inline int send_by_route(struct __sk_buff *skb, struct packet *p, const struct ends *original)
{
	struct edge_settings *settings = get_edge_settings();
	__u32 mtu = 0, link = settings ? settings->overlay : 0;

	if (!link)
		return drop_at(skb, DROP_NO_ROUTE);
	if (bpf_check_mtu(skb, link, &mtu, 0, BPF_MTU_CHK_SEGS) > 0 && !may_fragment(skb, p))
		return tell_too_big(skb, p, original, mtu);
	if (age(skb, p))
		return drop_at(skb, DROP_EXPIRED);
	return bpf_redirect_neigh(link, 0, 0, 0);
}

__noinline int send_on(struct __sk_buff *skb, struct packet *p, const struct ends *original, const struct mac *dsr)
{
	if (!p || !original)
		return TC_ACT_SHOT;
	struct bpf_fib_lookup fib;
	long found;

	start_route(&fib, p, skb->ifindex);
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (found == BPF_FIB_LKUP_RET_NOT_FWDED)
		return skb->ifindex != LOOPBACK_LINK && (net_flags_of(&p->src) & NET_OWN_NODE) ? into_loopback(skb) :
												  TC_ACT_OK;
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		__u32 mtu = fib.mtu_result;

		if (!may_fragment(skb, p))
			return tell_too_big(skb, p, original, mtu);
		/* For a pod the stack cuts it, as far as it believes the source. */
		if (!is_overlay(fib.ifindex) && !(net_flags_of(&p->src) & NET_OWN_NODE))
			return TC_ACT_OK;
		/* The tunnel's outer packets are cut instead. */
		return bpf_redirect_neigh(fib.ifindex, 0, 0, 0);
	}
	if (found == BPF_FIB_LKUP_RET_UNSUPP_LWT)
		return send_by_route(skb, p, original);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return drop_at(skb, DROP_NO_ROUTE);
	if (age(skb, p))
		return drop_at(skb, DROP_EXPIRED);
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		return bpf_redirect_neigh(fib.ifindex, 0, 0, 0);
	if (bpf_skb_store_bytes(skb, 0, fib.dmac, 6, 0) ||
	    (dsr ? bpf_skb_store_bytes(skb, 6, dsr, 6, 0) : bpf_skb_store_bytes(skb, 6, fib.smac, 6, 0)))
		return drop_at(skb, DROP_FAULT);
	return bpf_redirect(fib.ifindex, 0);
}

/* What the node itself sends: answers of its own to clients of services, and what may be for a service. */
static __noinline int from_node(struct __sk_buff *skb, struct packet *p)
{
	struct ends original;
	__u32 flags = 0;
	int result;

	ends_of(p, &original);
	result = nat_follow(skb, p, NAT_AT_UPLINK | NAT_REPLY, NAT_AT_UPLINK | NAT_REPLY, &flags);
	if (result < 0)
		return drop_at(skb, DROP_FAULT);
	/* It is on its way to that client, whatever he knows the server by. */
	if (result)
		return TC_ACT_OK;
	/* By then the other data path has translated. */
	if (handover_mode() == HANDOVER_UNKNOWN || handover_mode() == HANDOVER_BEGUN)
		return nat_follow(skb, p, NAT_AT_UPLINK | NAT_REPLY | NAT_MASQUERADE, NAT_AT_UPLINK, &flags) > 0 ?
			       send_on(skb, p, &original, 0) :
			       TC_ACT_OK;
	switch (translate_request(skb, p, ORIGIN_NODE, 0)) {
	case TR_DONE:
		return send_on(skb, p, &original, 0);
	case TR_DROP:
		return drop_at(skb, DROP_NO_BACKEND);
	case TR_REFUSE:
		count_drop(DROP_REFUSED, skb->len - ETHERNET_LENGTH);
		if (make_refusal(skb, p))
			return TC_ACT_SHOT;
		skb->mark = MARK_ANSWER;
		return skb->ifindex == LOOPBACK_LINK ? into_loopback(skb) : bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	}
	return TC_ACT_OK;
}

#endif
