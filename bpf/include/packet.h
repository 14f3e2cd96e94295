// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * What a packet says: addresses, protocol, ports. Works on any linear bytes, so that tc and XDP programs and both
 * families share it. Nothing here is believed: bounds are checked, and what a forwarder must not judge by half
 * (routing headers with segments left, too many extension headers, headers cut off) is PARSE_DROP.
 */
#ifndef HEDDLE_PACKET_H
#define HEDDLE_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef IPPROTO_ICMPV6
#define IPPROTO_ICMPV6 58
#endif
#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

#define ETHERNET_LENGTH 14

/* What of other nodes' pods a node lets in beside UDP tunnels. */
enum hears {
	HEARS_GRE = 1,
	/* As it was sent, by the link that nodes share. */
	HEARS_NATIVE = 2,
};

/* Network order. IPv4 addresses are ::ffff:a.b.c.d, so that maps by address hold both families. */
struct address {
	union {
		__u8 bytes[16];
		__be32 words[4];
		__u64 halves[2];
	};
};

enum packet_flags {
	/* A fragment; without PACKET_LATER the first one, which has the ports. */
	PACKET_FRAGMENT = 1,
	/* Without ports: those of the first fragment apply. */
	PACKET_LATER = 2,
	/* ICMP about another packet, which begins at `inner`. */
	PACKET_ICMP_ERROR = 4,
	/* IPv4 options or IPv6 extension headers. */
	PACKET_OPTIONS = 8,
	/* ICMP that only neighbours on one link exchange: neighbour discovery, redirects, router messages. */
	PACKET_LINK_LOCAL = 16,
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct address src, dst;
	/* Network order. An ICMP query has its identifier at the asking end and 0 at the other. */
	__be16 sport, dport;
	/* Offsets from the start of the frame: network header, transport header. */
	__u16 l3, l4;
	/* ICMP errors: offset of the network header of the packet that the error is about. */
	__u16 inner;
	/* 4 or 6 */
	__u8 family;
	/* Of the transport header: 6, 17, 132, 1, 58, … */
	__u8 protocol;
	__u8 flags;
	/* Of SCTP: those that say the same. */
	__u8 tcp_flags;
	__u8 icmp_type, icmp_code;
	/* Time to live or hop limit. */
	__u8 ttl;
	__u8 pad[3];
	/* Of fragments, network order for IPv6, the 16 bits of IPv4 as they are. */
	__u32 fragment_id;
};

enum parse {
	PARSE_OK = 0,
	/* Headers that are not there or that nobody may send through us. */
	PARSE_DROP = -1,
	/* Neither IPv4 nor IPv6. */
	PARSE_OTHER = -2,
	/* The bytes end too early; more may be outside of the linear part. */
	PARSE_SHORT = -3,
	/* A fragment that ends where no datagram does. */
	PARSE_OVERSIZED = -4,
};

/* Of a segment that asks for a connection. */
static __always_inline int is_syn(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline void set_v4(struct address *to, __be32 from)
{
	to->halves[0] = 0;
	to->words[2] = bpf_htonl(0xffff);
	to->words[3] = from;
}

static __always_inline void set_v6(struct address *to, const struct in6_addr *from)
{
	to->words[0] = from->in6_u.u6_addr32[0];
	to->words[1] = from->in6_u.u6_addr32[1];
	to->words[2] = from->in6_u.u6_addr32[2];
	to->words[3] = from->in6_u.u6_addr32[3];
}

static __always_inline int same_address(const struct address *a, const struct address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

static __always_inline int is_v4(const struct address *a)
{
	return a->halves[0] == 0 && a->words[2] == bpf_htonl(0xffff);
}

/* fe80::/10 */
static __always_inline int is_link_local(const struct address *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static __always_inline int is_icmp(const struct packet *p)
{
	return p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6;
}

/* RFC 792 and 4443: queries carry an identifier, errors a packet. */
static __always_inline int parse_icmp4(void *at, void *end, struct packet *p)
{
	__u8 *icmp = at;

	if (at + 8 > end)
		return PARSE_SHORT;
	p->icmp_type = icmp[0];
	p->icmp_code = icmp[1];
	switch (icmp[0]) {
	case 8: case 13: case 15: case 17:
		p->sport = *(__be16 *)(icmp + 4);
		break;
	case 0: case 14: case 16: case 18:
		p->dport = *(__be16 *)(icmp + 4);
		break;
	case 3: case 4: case 11: case 12:
		p->flags |= PACKET_ICMP_ERROR;
		p->inner = p->l4 + 8;
		break;
	case 5: case 9: case 10:
		p->flags |= PACKET_LINK_LOCAL;
	}
	return PARSE_OK;
}

static __always_inline int parse_icmp6(void *at, void *end, struct packet *p)
{
	__u8 *icmp = at;

	if (at + 8 > end)
		return PARSE_SHORT;
	p->icmp_type = icmp[0];
	p->icmp_code = icmp[1];
	if (icmp[0] == 128) {
		p->sport = *(__be16 *)(icmp + 4);
	} else if (icmp[0] == 129) {
		p->dport = *(__be16 *)(icmp + 4);
	} else if (icmp[0] < 128) {
		p->flags |= PACKET_ICMP_ERROR;
		p->inner = p->l4 + 8;
	} else if ((icmp[0] >= 130 && icmp[0] <= 137) || icmp[0] == 143) {
		p->flags |= PACKET_LINK_LOCAL;
	}
	return PARSE_OK;
}

/* Of a transport whose header says something to us. */
static __always_inline int is_read(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* RFC 3128: a fragment that would write over what was read from the first one. */
static __always_inline int overlaps_header(__u8 protocol, __u32 offset)
{
	return protocol == IPPROTO_TCP && offset && offset < 20;
}

/* RFC 9260 section 3.2: what the first chunk of SCTP says of its association, in the words of TCP. */
static __always_inline __u8 chunk_flags(__u8 type)
{
	/* INIT; ABORT and SHUTDOWN COMPLETE. */
	return type == 1 ? TCP_SYN : type == 6 || type == 14 ? TCP_RST : 0;
}

/*
 * Reads the transport header at `p->l4`. Later fragments have none. `room`: bytes from there on by what the IP header
 * says. What follows is padding, cut off before fragments are put together: flags read there would be anybody's.
 */
static __always_inline int parse_transport(void *data, void *end, struct packet *p, __u32 room)
{
	/* The mask tells the verifier that the offset is small; headers of IP are far below. */
	void *at = data + (p->l4 & 0x3ff);
	__be16 *ports = at;

	if (p->flags & PACKET_LATER)
		return PARSE_OK;
	if (room < (p->protocol == IPPROTO_TCP ? 20 : 8) && is_read(p->protocol))
		return PARSE_DROP;
	switch (p->protocol) {
	case IPPROTO_TCP:
		if (at + 20 > end)
			return PARSE_SHORT;
		p->tcp_flags = ((__u8 *)at)[13];
		break;
	case IPPROTO_UDP:
		if (at + 8 > end)
			return PARSE_SHORT;
		break;
	case IPPROTO_SCTP:
		if (at + 12 > end)
			return PARSE_SHORT;
		/* Data that the kernel is yet to cut begins in another buffer. */
		if (room > 12 && at + 13 <= end)
			p->tcp_flags = chunk_flags(((__u8 *)at)[12]);
		break;
	case IPPROTO_ICMP:
		return p->family == 4 ? parse_icmp4(at, end, p) : PARSE_DROP;
	case IPPROTO_ICMPV6:
		return p->family == 6 ? parse_icmp6(at, end, p) : PARSE_DROP;
	default:
		return PARSE_OK;
	}
	p->sport = ports[0];
	p->dport = ports[1];
	return PARSE_OK;
}

static __always_inline int parse_ipv4(void *data, void *end, struct packet *p)
{
	struct iphdr *ip = data + (p->l3 & 0x3ff);
	__u32 length, total;
	__u16 fragment;

	if ((void *)(ip + 1) > end)
		return PARSE_SHORT;
	length = ip->ihl * 4;
	/* 0: the kernel's own, of more than 64 kB in one buffer. From a wire no stack takes it. */
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || length < sizeof(*ip) || (total && total < length))
		return PARSE_DROP;
	p->family = 4;
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	set_v4(&p->src, ip->saddr);
	set_v4(&p->dst, ip->daddr);
	p->l4 = p->l3 + length;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & 0x3fff) {
		p->flags |= fragment & 0x1fff ? PACKET_FRAGMENT | PACKET_LATER : PACKET_FRAGMENT;
		p->fragment_id = ip->id;
		if (overlaps_header(p->protocol, (fragment & 0x1fff) * 8))
			return PARSE_DROP;
		/* RFC 791 section 3.1: header and all fragments are 65,535 bytes at most. */
		if ((fragment & 0x1fff) * 8 + total > 0xffff)
			return PARSE_OVERSIZED;
	}
	/* Source routes among them are the node's to refuse (net.ipv4.conf.all.accept_source_route). */
	if (length > sizeof(*ip))
		p->flags |= PACKET_OPTIONS;
	return parse_transport(data, end, p, total ? total - length : 0xffff);
}

#define EXTENSIONS_MAX 6

/* RFC 8200 section 4. A routing header with segments left is a source route. `last`: where the packet ends. */
static __always_inline int skip_extensions(void *data, void *end, struct packet *p, __u8 next, __u32 last)
{
	__u32 at = p->l4;

	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		__u8 *header = data + (at & 0x3ff);
		__u32 length;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
			p->protocol = next;
			p->l4 = at;
			return PARSE_OK;
		}
		if ((void *)(header + 8) > end)
			return PARSE_SHORT;
		p->flags |= PACKET_OPTIONS;
		length = (header[1] + 1) * 8;
		if (next == IPPROTO_ROUTING && header[3] != 0)
			return PARSE_DROP;
		if (next == IPPROTO_AH)
			length = (header[1] + 2) * 4;
		if (next == IPPROTO_FRAGMENT) {
			__u16 fragment = bpf_ntohs(*(__be16 *)(header + 2));

			length = 8;
			/* Offset 0 and no more to come: an atomic fragment (RFC 6946) is whole. */
			if (fragment & 0xfff9) {
				p->flags |= fragment & 0xfff8 ? PACKET_FRAGMENT | PACKET_LATER : PACKET_FRAGMENT;
				p->fragment_id = *(__u32 *)(header + 4);
				if (overlaps_header(header[0], fragment & 0xfff8))
					return PARSE_DROP;
				/* RFC 8200 section 4.5: so is the payload that they make. */
				if (last > at + 8 && (fragment & 0xfff8) + last - at - 8 > 0xffff)
					return PARSE_OVERSIZED;
			}
		}
		next = header[0];
		at += length;
		if (at > 0x3c0)
			return PARSE_DROP;
		if (p->flags & PACKET_LATER) {
			p->protocol = next;
			p->l4 = at;
			return PARSE_OK;
		}
	}
	return PARSE_DROP;
}

static __always_inline int parse_ipv6(void *data, void *end, struct packet *p)
{
	struct ipv6hdr *ip = data + (p->l3 & 0x3ff);
	__u32 total;
	int parsed;

	if ((void *)(ip + 1) > end)
		return PARSE_SHORT;
	if (ip->version != 6)
		return PARSE_DROP;
	total = bpf_ntohs(ip->payload_len);
	p->family = 6;
	p->ttl = ip->hop_limit;
	set_v6(&p->src, &ip->saddr);
	set_v6(&p->dst, &ip->daddr);
	/* Such an address means IPv4 to us, and nothing on a wire (RFC 4291 section 2.5.5.2). */
	if (is_v4(&p->src) || is_v4(&p->dst))
		return PARSE_DROP;
	p->l4 = p->l3 + sizeof(*ip);
	parsed = skip_extensions(data, end, p, ip->nexthdr, p->l4 + total);
	if (parsed != PARSE_OK)
		return parsed;
	/* 0: a jumbogram (RFC 2675), whose length is more than 64 kB. */
	total = total ? total + p->l3 + sizeof(*ip) : 0xffff;
	return parse_transport(data, end, p, total > p->l4 ? total - p->l4 : 0);
}

static __always_inline void clear_packet(struct packet *p, __u16 l3)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->l3 = l3;
}

/* A frame of Ethernet in the linear bytes [data, end). */
static __always_inline int parse_frame(void *data, void *end, struct packet *p)
{
	struct ethhdr *ethernet = data;

	clear_packet(p, ETHERNET_LENGTH);
	if ((void *)(ethernet + 1) > end)
		return PARSE_SHORT;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(data, end, p);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(data, end, p);
	return PARSE_OTHER;
}

#define as_pointer(value) ((void *)(long)(value))

/* More than this of headers nobody sends; what follows them stays where it is. */
#define PULL_MAX 256

/*
 * Functions that are not static are verified once, by themselves, instead of once for each way to them. What they
 * are given must be initialised (until Linux 6.3), and they must ask whether it is there.
 */

/* One attempt of `parse_packet`. */
__noinline int parse_linear(struct __sk_buff *skb, struct packet *p)
{
	return p ? parse_frame(as_pointer(skb->data), as_pointer(skb->data_end), p) : PARSE_DROP;
}

/*
 * The packet of a tc program, whole: options, extension headers, fragments. Pointers into the packet are to be
 * loaded again afterwards.
 */
__noinline int parse_packet(struct __sk_buff *skb, struct packet *p)
{
	int parsed = parse_linear(skb, p);

	if (parsed != PARSE_SHORT)
		return parsed;
	/* Headers in fragments of the buffer. Failing is for packets that are really too short. */
	if (bpf_skb_pull_data(skb, skb->len < PULL_MAX ? skb->len : PULL_MAX))
		return PARSE_DROP;
	parsed = parse_linear(skb, p);
	return parsed == PARSE_SHORT ? PARSE_DROP : parsed;
}

/*
 * The packet that an ICMP error is about, as far as it says: `inner->src` is whom the error is for. Ports may be
 * missing from errors about later fragments; such are PARSE_DROP.
 */
__noinline int parse_inner(struct __sk_buff *skb, const struct packet *p, struct packet *inner)
{
	void *data, *end;
	int parsed;

	if (!p || !inner)
		return PARSE_DROP;
	clear_packet(inner, p->inner);
	/* At most 60 + 8 bytes of IPv4, or 40 + 8 and extension headers. */
	if (bpf_skb_pull_data(skb, skb->len < PULL_MAX ? skb->len : PULL_MAX))
		return PARSE_DROP;
	data = as_pointer(skb->data);
	end = as_pointer(skb->data_end);
	parsed = PARSE_DROP;
	if (p->family == 4) {
		struct iphdr *ip = data + (inner->l3 & 0x3ff);
		__be16 *ports;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return PARSE_DROP;
		inner->family = 4;
		inner->protocol = ip->protocol;
		set_v4(&inner->src, ip->saddr);
		set_v4(&inner->dst, ip->daddr);
		if (ip->frag_off & bpf_htons(0x1fff))
			return PARSE_DROP;
		inner->l4 = inner->l3 + ip->ihl * 4;
		ports = data + (inner->l4 & 0x3ff);
		if ((void *)(ports + 4) > end)
			return PARSE_DROP;
		if (ip->protocol == IPPROTO_ICMP)
			return parse_icmp4(ports, end, inner);
		inner->sport = ports[0];
		inner->dport = ports[1];
		return PARSE_OK;
	}
	struct ipv6hdr *ip = data + (inner->l3 & 0x3ff);
	__be16 *ports;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return PARSE_DROP;
	inner->family = 6;
	set_v6(&inner->src, &ip->saddr);
	set_v6(&inner->dst, &ip->daddr);
	if (is_v4(&inner->src) || is_v4(&inner->dst))
		return PARSE_DROP;
	inner->l4 = inner->l3 + sizeof(*ip);
	parsed = skip_extensions(data, end, inner, ip->nexthdr, inner->l4 + bpf_ntohs(ip->payload_len));
	if (parsed != PARSE_OK || (inner->flags & PACKET_LATER))
		return PARSE_DROP;
	ports = data + (inner->l4 & 0x3ff);
	if ((void *)(ports + 4) > end)
		return PARSE_DROP;
	if (inner->protocol == IPPROTO_ICMPV6)
		return parse_icmp6(ports, end, inner);
	inner->sport = ports[0];
	inner->dport = ports[1];
	return PARSE_OK;
}

#define PROTOCOL_GRE 47

/* For the end of a tunnel (RFC 7348, RFC 8926, RFC 2784): who may speak to it is asked where it comes in. */
static __always_inline int is_of_tunnel(const struct packet *p, __be16 port, __be16 port2, __u32 hears)
{
	if (p->protocol == IPPROTO_UDP)
		return p->dport && (p->dport == port || p->dport == port2);
	return p->protocol == PROTOCOL_GRE && (hears & HEARS_GRE);
}

#endif
