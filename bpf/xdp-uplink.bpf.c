// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * XDP at the uplink: what denied ranges send is gone before the stack allocates anything for it, and no source may
 * send packets or begin connections faster than its rate. Other nodes and the API server are never held up, nor is
 * an established connection, nor what answers a connection that began inside.
 */
#include "drop.h"
#include "flow.h"
#include "nat.h"
#include "protection-maps.h"

char _license[] SEC("license") = "GPL";

/* States of sockets, as in the kernel's enum. */
#define STATE_ESTABLISHED 1
#define STATE_LISTEN 10
/* RFC 9260 section 3.2 */
#define SCTP_INIT 1
/* Attempts against other CPUs that take of the same bucket at the same time. */
#define TAKE_TRIES 4
/* Tags in front of a packet: a provider's and a customer's. */
#define TAGS_MAX 2

static __always_inline int drop_frame(struct xdp_md *ctx, __u32 reason)
{
	count_drop(reason, ctx->data_end - ctx->data - ETHERNET_LENGTH);
	return XDP_DROP;
}

static __always_inline int is_tag(__be16 protocol)
{
	return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

/*
 * Where the frame would begin without its tags (IEEE 802.1Q), as its last 14 bytes before the packet read. The kernel
 * takes off those without a VLAN, and here they are still on.
 */
static __always_inline void *frame_start(struct xdp_md *ctx)
{
	void *data = as_pointer(ctx->data), *end = as_pointer(ctx->data_end);

	for (int i = 0; i < TAGS_MAX; i++) {
		struct ethhdr *ethernet = data;

		if ((void *)(ethernet + 1) > end || !is_tag(ethernet->h_proto))
			break;
		data += 4;
	}
	return data;
}

static __always_inline int has_more_tags(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = frame_start(ctx);

	return (void *)(ethernet + 1) <= as_pointer(ctx->data_end) && is_tag(ethernet->h_proto);
}

/* Source address of an IP packet. 0: it is none, or too short to be one. */
static __always_inline int read_source(struct xdp_md *ctx, struct address *src)
{
	void *data = frame_start(ctx), *end = as_pointer(ctx->data_end);
	struct ethhdr *ethernet = data;

	if (data + ETHERNET_LENGTH + sizeof(struct iphdr) > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		set_v4(src, ((struct iphdr *)(ethernet + 1))->saddr);
		return 4;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6) && data + ETHERNET_LENGTH + sizeof(struct ipv6hdr) <= end) {
		set_v6(src, &((struct ipv6hdr *)(ethernet + 1))->saddr);
		return 6;
	}
	return 0;
}

static __always_inline int is_denied(const struct address *src, int family, __u32 flags)
{
	if (family == 4) {
		struct denied4_key key = { .prefix = 32 };

		__builtin_memcpy(key.address, &src->words[3], 4);
		return (flags & PROTECT_DENY4) && bpf_map_lookup_elem(&denied4, &key);
	}
	struct denied6_key key = { .prefix = 128 };

	__builtin_memcpy(key.address, src, 16);
	return (flags & PROTECT_DENY6) && bpf_map_lookup_elem(&denied6, &key);
}

/* Of the cluster: whoever only says that he is, `from_uplink` tells by his link address. */
static __noinline int is_spared(const struct address *src)
{
	struct address key = *src;

	return node_address_kind(&key) || bpf_map_lookup_elem(&spared_addresses, &key) || find_range(&key);
}

/* The packet behind its tags. Not static: verified by itself, once; see packet.h. */
__noinline int parse_untagged(struct xdp_md *ctx, struct packet *p)
{
	return p ? parse_frame(frame_start(ctx), as_pointer(ctx->data_end), p) : PARSE_DROP;
}

/* Neighbours keep finding each other, as they do by ARP. */
static __noinline int is_between_neighbours(struct xdp_md *ctx)
{
	struct packet p = {};

	return parse_untagged(ctx, &p) == PARSE_OK && p.family == 6 &&
	       (p.flags & PACKET_LINK_LOCAL);
}

static __always_inline int is_translated(const struct packet *p, int stream)
{
	struct nat_key key;
	struct nat_value *nat;

	make_nat_key(&key, p, 0);
	nat = bpf_map_lookup_elem(p->family == 4 ? (void *)&nat4 : (void *)&nat6, &key);
	if (!nat || nat_expired(nat, p->protocol, bpf_ktime_get_ns()))
		return 0;
	/* A reply is to somebody inside who asked. Direct return shows one direction alone. */
	return (nat->flags & NAT_REPLY) || (stream && (nat->flags & (NAT_ANSWERED | NAT_DSR)));
}

static __always_inline int is_flow(const struct packet *p, int stream)
{
	__u32 way = 0;
	struct flow *flow = find_flow(p, &way);

	if (!flow || is_idle(flow, bpf_ktime_get_ns()) || (flow->flags & FLOW_DENIED))
		return 0;
	return flow->initiator != way || (stream && (flow->flags & FLOW_ANSWERED));
}

/* Of the node itself: an accepted connection, or a datagram socket that has one peer. */
static __always_inline int has_socket(struct xdp_md *ctx, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 size;
	int found;

	if (p->family == 4) {
		tuple.ipv4.saddr = p->src.words[3];
		tuple.ipv4.daddr = p->dst.words[3];
		tuple.ipv4.sport = p->sport;
		tuple.ipv4.dport = p->dport;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &p->src, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &p->dst, 16);
		tuple.ipv6.sport = p->sport;
		tuple.ipv6.dport = p->dport;
		size = sizeof(tuple.ipv6);
	}
	if (p->protocol == IPPROTO_TCP) {
		socket = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			return 0;
		found = socket->state != STATE_LISTEN;
	} else {
		socket = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			return 0;
		found = socket->state == STATE_ESTABLISHED;
	}
	bpf_sk_release(socket);
	return found;
}

/*
 * TCP that has been answered, and what answers a connection from inside. A client's datagrams are not, however long
 * they have been coming: only their rate tells a flood.
 */
__noinline int is_established(struct xdp_md *ctx, const struct packet *p)
{
	int stream;

	if (!p)
		return 0;
	stream = p->protocol == IPPROTO_TCP;
	if (p->flags & (PACKET_FRAGMENT | PACKET_ICMP_ERROR))
		return 0;
	if (is_flow(p, stream) || is_translated(p, stream))
		return 1;
	return (stream || p->protocol == IPPROTO_UDP) && has_socket(ctx, p);
}

static __always_inline int begins_connection(struct xdp_md *ctx, const struct packet *p)
{
	__u8 chunk = 0;
	void *at;

	if (p->flags & PACKET_LATER)
		return 0;
	if (p->protocol == IPPROTO_TCP)
		return is_syn(p->tcp_flags);
	if (p->protocol != IPPROTO_SCTP)
		return 0;
	at = frame_start(ctx) + (p->l4 & 0x3ff);
	if (at + 13 > as_pointer(ctx->data_end))
		return 0;
	chunk = *(__u8 *)(at + 12);
	return chunk == SCTP_INIT;
}

/* Takes one of a bucket, if there is one. The bucket is a clock: taking moves it on, time catches up. */
static __always_inline int take(__u64 *until, const struct rate *rate, __u64 now)
{
	if (!rate->cost)
		return 1;
	for (int i = 0; i < TAKE_TRIES; i++) {
		__u64 old = *(volatile __u64 *)until;
		__u64 next = (old > now ? old : now) + rate->cost;

		if (next - now > rate->burst)
			return 0;
		if (__sync_bool_compare_and_swap(until, old, next))
			return 1;
	}
	/* Several CPUs at once are busy with this source alone. */
	return 0;
}

static __always_inline struct source *find_source(const struct address *src)
{
	struct source_key key;
	struct source *known, empty = {};

	__builtin_memcpy(key.address, src, 16);
	if (!is_v4(src))
		__builtin_memset(key.address + 8, 0, 8);
	known = bpf_map_lookup_elem(&sources, &key);
	if (known)
		return known;
	bpf_map_update_elem(&sources, &key, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sources, &key);
}

/* Reason to drop the packet, or 0. */
__noinline int over_limit(const struct packet *p, int begins)
{
	__u32 zero = 0;
	struct protection *settings = bpf_map_lookup_elem(&protection, &zero);
	struct all_sources *all = bpf_map_lookup_elem(&all_sources, &zero);
	__u64 now = bpf_ktime_get_ns();
	struct source *source;
	int reason = 0;

	if (!p || !settings || !all)
		return 0;
	source = find_source(&p->src);
	/* Without room for the source its packets pass: better than nobody's. */
	if (source && !take(&source->packets_until, &settings->packets, now))
		reason = DROP_PACKET_RATE;
	else if (begins && source && !take(&source->connections_until, &settings->connections, now))
		reason = DROP_CONNECTION_RATE;
	else if (begins && !take(&all->connections_until, &settings->all_connections, now))
		reason = DROP_CONNECTION_RATE;
	if (reason && source)
		__sync_fetch_and_add(&source->dropped, 1);
	return reason;
}

static __noinline int limit(struct xdp_md *ctx)
{
	struct packet p = {};
	int begins = 0, reason;

	/* What cannot be read counts all the same; `from_uplink` drops it. */
	if (parse_untagged(ctx, &p) == PARSE_OK) {
		if ((p.flags & PACKET_LINK_LOCAL) || is_link_local(&p.src))
			return XDP_PASS;
		begins = begins_connection(ctx, &p);
		if (!begins && is_established(ctx, &p))
			return XDP_PASS;
	}
	reason = over_limit(&p, begins);
	return reason ? drop_frame(ctx, reason) : XDP_PASS;
}

SEC("xdp")
int xdp_uplink(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct protection *settings = bpf_map_lookup_elem(&protection, &zero);
	struct address src;
	int family;

	if (!settings || !settings->flags)
		return XDP_PASS;
	family = read_source(ctx, &src);
	if (!family)
		return has_more_tags(ctx) ? drop_frame(ctx, DROP_MALFORMED) : XDP_PASS;
	if (is_denied(&src, family, settings->flags) && !is_spared(&src))
		return is_between_neighbours(ctx) ? XDP_PASS : drop_frame(ctx, DROP_DENIED);
	if (!(settings->flags & PROTECT_LIMITS) || is_spared(&src))
		return XDP_PASS;
	return limit(ctx);
}
