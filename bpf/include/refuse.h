/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Answers that the node gives in a destination's name: TCP reset, port unreachable, packet too big. */
#ifndef HEDDLE_REFUSE_H
#define HEDDLE_REFUSE_H

#include <linux/tcp.h>

#include "drop.h"
#include "packet.h"

#define ANSWER_TTL 64

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of addresses, protocol and length; IPv4 in its mapped form adds twice ffff, which is nothing. */
static __always_inline __u64 pseudo_sum(const struct address *src, const struct address *dst, __u32 protocol,
					__u32 length)
{
	__be32 rest[2] = { bpf_htonl(length), bpf_htonl(protocol) };
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)src, 16, 0);

	sum = bpf_csum_diff(0, 0, (__be32 *)dst, 16, sum);
	return bpf_csum_diff(0, 0, rest, 8, sum);
}

/* Room is left by the sender for a sum that a device makes: then the field holds that of the pseudo header. */
static __always_inline int is_sum_partial(struct __sk_buff *skb, const struct packet *p, __u16 sum)
{
	if (bpf_csum_update(skb, 0) >= 0 || bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0)
		return 0;
	return sum == fold(pseudo_sum(&p->src, &p->dst, p->protocol, skb->len - p->l4));
}

static __always_inline int write_ip4(struct __sk_buff *skb, const struct address *src, const struct address *dst,
				     __u8 protocol, __u32 length)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(length),
		.frag_off = bpf_htons(0x4000),
		.ttl = ANSWER_TTL,
		.protocol = protocol,
		.saddr = src->words[3],
		.daddr = dst->words[3],
	};

	ip.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_store_bytes(skb, ETHERNET_LENGTH, &ip, sizeof(ip), 0);
}

static __always_inline int write_ip6(struct __sk_buff *skb, const struct address *src, const struct address *dst,
				     __u8 protocol, __u32 payload)
{
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = bpf_htons(payload),
		.nexthdr = protocol,
		.hop_limit = ANSWER_TTL,
	};

	__builtin_memcpy(&ip.saddr, src, 16);
	__builtin_memcpy(&ip.daddr, dst, 16);
	return bpf_skb_store_bytes(skb, ETHERNET_LENGTH, &ip, sizeof(ip), 0);
}

static __always_inline int write_ip(struct __sk_buff *skb, __u32 family, const struct address *src,
				    const struct address *dst, __u8 protocol, __u32 payload)
{
	return family == 4 ? write_ip4(skb, src, dst, protocol, payload + sizeof(struct iphdr)) :
			     write_ip6(skb, src, dst, protocol, payload);
}

static __always_inline int swap_macs(struct __sk_buff *skb)
{
	__u8 macs[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, macs, 12))
		return -1;
	__builtin_memcpy(swapped, macs + 6, 6);
	__builtin_memcpy(swapped + 6, macs, 6);
	return bpf_skb_store_bytes(skb, 0, swapped, 12, 0);
}

/* RFC 9293 section 3.10.7.1: the reset that a closed port answers with. */
static __noinline int make_reset(struct __sk_buff *skb, const struct packet *p)
{
	struct tcphdr tcp;
	__u32 l4 = p->l4, length, payload;
	__u64 sum;
	int partial;

	if (bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)))
		return -1;
	length = skb->len - l4;
	payload = length - tcp.doff * 4;
	partial = is_sum_partial(skb, p, tcp.check);
	if (bpf_skb_change_tail(skb, l4 + sizeof(tcp), 0))
		return -1;
	struct tcphdr reset = {
		.source = p->dport,
		.dest = p->sport,
		.doff = 5,
		.rst = 1,
	};
	if (tcp.ack) {
		reset.seq = tcp.ack_seq;
	} else {
		reset.ack = 1;
		reset.ack_seq = bpf_htonl(bpf_ntohl(tcp.seq) + payload + tcp.syn + tcp.fin);
	}
	sum = pseudo_sum(&p->dst, &p->src, IPPROTO_TCP, sizeof(tcp));
	if (partial)
		reset.check = fold(sum);
	else
		reset.check = ~fold(bpf_csum_diff(0, 0, (__be32 *)&reset, sizeof(reset), sum));
	if (bpf_skb_store_bytes(skb, l4, &reset, sizeof(reset), 0))
		return -1;
	return write_ip(skb, p->family, &p->dst, &p->src, IPPROTO_TCP, sizeof(tcp));
}

struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 sum;
	__be32 extra; /* RFC 1191, 4443: the next link's MTU */
};

/*
 * An ICMP error in front of what it is about, cut to the headers. A sum that a device has yet to make stands in the
 * quote and comes out the same whatever the quote says: with it, the bytes from there on sum up to the complement
 * of what the field holds now.
 */
__noinline int make_error(struct __sk_buff *skb, const struct packet *p, const struct address *from,
			  const struct icmp_error *what)
{
	if (!p || !from || !what)
		return -1;
	__u32 header = p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	/* Of a first fragment of IPv6 also the header that says so. */
	__u32 rest = p->protocol == IPPROTO_TCP ? 20 : (p->flags & PACKET_FRAGMENT) && p->family == 6 ? 16 : 8;
	__u32 quote = header + rest, at = p->protocol == IPPROTO_TCP ? 16 : 6;
	struct icmp_error icmp = *what;
	__u8 bytes[60];
	__be16 field = 0;
	__u64 sum = 0;
	int partial = 0;

	if ((p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP)) {
		if (bpf_skb_load_bytes(skb, p->l4 + at, &field, 2))
			return -1;
		partial = is_sum_partial(skb, p, field);
	}
	if (bpf_skb_change_tail(skb, ETHERNET_LENGTH + quote, 0))
		return -1;
	__builtin_memset(bytes, 0, sizeof(bytes));
	if (p->family == 4 ? rest == 20 ? bpf_skb_load_bytes(skb, ETHERNET_LENGTH, bytes, 40) :
					  bpf_skb_load_bytes(skb, ETHERNET_LENGTH, bytes, 28) :
	    rest == 20	   ? bpf_skb_load_bytes(skb, ETHERNET_LENGTH, bytes, 60) :
	    rest == 16	   ? bpf_skb_load_bytes(skb, ETHERNET_LENGTH, bytes, 56) :
			     bpf_skb_load_bytes(skb, ETHERNET_LENGTH, bytes, 48))
		return -1;
	if (partial) {
		/* The transport header counts as the complement of its field. */
		if (p->family == 4)
			__builtin_memset(bytes + 20, 0, 20);
		else
			__builtin_memset(bytes + 40, 0, 20);
		sum = (__u16)~field;
	}
	if (p->family == 6)
		sum += pseudo_sum(from, &p->src, IPPROTO_ICMPV6, quote + sizeof(icmp));
	sum = bpf_csum_diff(0, 0, (__be32 *)bytes, sizeof(bytes), fold(sum));
	sum = bpf_csum_diff(0, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	icmp.sum = ~fold(sum);
	if (bpf_skb_adjust_room(skb, header + sizeof(icmp), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	if (bpf_skb_store_bytes(skb, ETHERNET_LENGTH + header, &icmp, sizeof(icmp), 0))
		return -1;
	return write_ip(skb, p->family, from, &p->src, p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			quote + sizeof(icmp));
}

/* Turns the packet into the answer to it. Negative: there is none to be given, drop it. */
__noinline int make_refusal(struct __sk_buff *skb, const struct packet *p)
{
	if (!p)
		return -1;
	struct icmp_error unreachable = { .type = p->family == 4 ? 3 : 1, .code = p->family == 4 ? 3 : 4 };

	/* Nothing answers errors, resets and pieces (RFC 1122 section 3.2.2). */
	if ((p->flags & (PACKET_FRAGMENT | PACKET_OPTIONS | PACKET_ICMP_ERROR)) || (p->tcp_flags & TCP_RST))
		return -1;
	if (swap_macs(skb))
		return -1;
	if (p->protocol == IPPROTO_TCP)
		return make_reset(skb, p);
	return make_error(skb, p, &p->dst, &unreachable);
}

/* Answers a pod's packet, at ingress of its link, straight into the pod. Returns the tc verdict. */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *p)
{
	count_drop(DROP_REFUSED, skb->len - ETHERNET_LENGTH);
	return make_refusal(skb, p) ? TC_ACT_SHOT : bpf_redirect_peer(skb->ifindex, 0);
}

#endif
