/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Other addresses and ports in a packet, with its checksums: complete ones and those a device has yet to finish. */
#ifndef HEDDLE_CHECKSUM_H
#define HEDDLE_CHECKSUM_H

#include "packet.h"

/* Ends of a packet. `src` and `dst` stand as in struct packet, so that one difference covers both. */
struct ends {
	struct address src, dst;
	__be16 sport, dport;
};

static __always_inline void ends_of(const struct packet *p, struct ends *out)
{
	out->src = p->src;
	out->dst = p->dst;
	out->sport = p->sport;
	out->dport = p->dport;
}

static __always_inline void set_ends(struct packet *p, const struct ends *to)
{
	p->src = to->src;
	p->dst = to->dst;
	p->sport = to->sport;
	p->dport = to->dport;
}

#define CRC32C 0x82f63b78

/* x^(8·2^k) modulo the polynomial, bits reflected: what 2^k more bytes do to a remainder. */
static const __u32 crc32c_shifts[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* All ones for 1, 0 for 0, without a branch: the verifier would follow both sides of each of hundreds. */
static __always_inline __u32 mask_of(__u32 bit)
{
	asm volatile("" : "+r"(bit));
	return -bit;
}

static __always_inline __u32 crc32c_step(__u32 value)
{
	return value >> 1 ^ (CRC32C & mask_of(value & 1));
}

/* Not static: verified by itself, once. */
__noinline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int i = 31; i >= 0; i--) {
		product ^= b & mask_of(a >> i & 1);
		b = crc32c_step(b);
	}
	return product;
}

/*
 * SCTP (RFC 9260 appendix A). A CRC is linear: that of two messages' difference is the difference of theirs. The
 * difference is the four bytes of the ports, and `follow` zeroes. Not static: verified by itself, once.
 */
__noinline __u32 crc32c_of_change(__u32 change, __u32 follow)
{
	__u32 crc = change;

	for (int i = 0; i < 32; i++)
		crc = crc32c_step(crc);
	for (int k = 0; k < 16; k++) {
		__u32 next = crc32c_multiply(crc32c_shifts[k & 15], crc);

		crc ^= (crc ^ next) & mask_of(follow >> k & 1);
	}
	return crc;
}

static __always_inline int rewrite_sctp(struct __sk_buff *skb, const struct packet *p, __u32 change)
{
	__be16 total = 0;
	__u32 length, sum = 0;

	/* The sum is over what all fragments carry, and this one does not know how long that is. */
	if (p->flags & PACKET_FRAGMENT)
		return -1;
	if (bpf_skb_load_bytes(skb, p->l3 + (p->family == 4 ? 2 : 4), &total, 2))
		return -1;
	length = bpf_ntohs(total) + p->l3 + (p->family == 4 ? 0 : sizeof(struct ipv6hdr)) - p->l4;
	if (length < 12 || length > 0xffff || bpf_skb_load_bytes(skb, p->l4 + 8, &sum, 4))
		return -1;
	/*
	 * A device has yet to make the sum, over a field that must be 0 then. What was made is 0 once in four thousand
	 * million packets.
	 */
	if (!sum && bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) < 0)
		return 0;
	sum ^= crc32c_of_change(change, length - 4);
	return bpf_skb_store_bytes(skb, p->l4 + 8, &sum, 4, 0);
}

static __always_inline __u32 sum_offset(const struct packet *p)
{
	return p->l4 + (p->protocol == IPPROTO_TCP ? 16 : p->protocol == IPPROTO_UDP ? 6 : 2);
}

/* Of the transport: `pseudo` where the difference is of the addresses. */
static __always_inline int mend_sum(struct __sk_buff *skb, const struct packet *p, __s64 difference, int pseudo)
{
	__u64 flags = (pseudo ? BPF_F_PSEUDO_HDR : 0) | (p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);

	if (bpf_l4_csum_replace(skb, sum_offset(p), 0, difference, flags))
		return -1;
	/*
	 * The helper takes the change of addresses out of the sum that a device has made over the packet, right for
	 * IPv4, whose header has a sum of its own that makes up for it. IPv6 has none.
	 */
	if (pseudo && p->family == 6)
		bpf_csum_update(skb, difference);
	return 0;
}

static __always_inline int store_addresses(struct __sk_buff *skb, __u32 l3, __u32 family, const struct ends *to)
{
	if (family == 4)
		return bpf_skb_store_bytes(skb, l3 + 12, &to->src.words[3], 4, 0) ||
		       bpf_skb_store_bytes(skb, l3 + 16, &to->dst.words[3], 4, 0);
	return bpf_skb_store_bytes(skb, l3 + 8, &to->src, 32, 0);
}

/* Of ICMP queries: an identifier, which is the port of the end that asks. */
static __always_inline int store_ports(struct __sk_buff *skb, __u32 l4, int icmp, const struct ends *to)
{
	__be16 ports[2] = { to->sport, to->dport };

	if (!icmp)
		return bpf_skb_store_bytes(skb, l4, ports, 4, 0);
	ports[0] |= ports[1];
	return bpf_skb_store_bytes(skb, l4 + 4, ports, 2, 0);
}

static __always_inline __u32 ports_word(__be16 sport, __be16 dport)
{
	union {
		__be16 ports[2];
		__u32 word;
	} both = { .ports = { sport, dport } };

	return both.word;
}

/* Gives the packet other ends. Negative: the packet is half rewritten and must be dropped. */
__noinline int rewrite(struct __sk_buff *skb, struct packet *p, const struct ends *to)
{
	if (!p || !to)
		return -1;

	__u32 old = ports_word(p->sport, p->dport), new = ports_word(to->sport, to->dport);
	__s64 addresses = bpf_csum_diff((__be32 *)p, 32, (__be32 *)to, 32, 0);
	__s64 ports = bpf_csum_diff(&old, 4, &new, 4, 0);
	int is_later = p->flags & PACKET_LATER;

	if (p->family == 4 && bpf_l3_csum_replace(skb, p->l3 + 10, 0, addresses, 0))
		return -1;
	if (!is_later && p->protocol == IPPROTO_SCTP && old != new && rewrite_sctp(skb, p, old ^ new))
		return -1;
	if (!is_later && p->protocol != IPPROTO_SCTP) {
		if (p->protocol != IPPROTO_ICMP && mend_sum(skb, p, addresses, 1))
			return -1;
		if (old != new && mend_sum(skb, p, ports, 0))
			return -1;
	}
	if (store_addresses(skb, p->l3, p->family, to))
		return -1;
	if (!is_later && old != new && store_ports(skb, p->l4, is_icmp(p), to))
		return -1;
	set_ends(p, to);
	return 0;
}

/* Other ends in the packet that an ICMP error quotes. The error's own addresses are for `rewrite`. */
__noinline int rewrite_inner(struct __sk_buff *skb, const struct packet *p, const struct packet *inner,
			     const struct ends *to)
{
	if (!p || !inner || !to)
		return -1;

	__u32 old = ports_word(inner->sport, inner->dport), new = ports_word(to->sport, to->dport);
	__s64 addresses = bpf_csum_diff((__be32 *)inner, 32, (__be32 *)to, 32, 0);
	__s64 ports = bpf_csum_diff(&old, 4, &new, 4, 0);

	/* Quoted addresses and the quoted header's sum outweigh each other; IPv6 has no such sum. */
	if (p->family == 4 ? bpf_l3_csum_replace(skb, inner->l3 + 10, 0, addresses, 0) :
			     bpf_l4_csum_replace(skb, p->l4 + 2, 0, addresses, 0))
		return -1;
	if (old != new && bpf_l4_csum_replace(skb, p->l4 + 2, 0, ports, 0))
		return -1;
	if (store_addresses(skb, inner->l3, p->family, to))
		return -1;
	return old != new ? store_ports(skb, inner->l4, is_icmp(inner), to) : 0;
}

#endif
