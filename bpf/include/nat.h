/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Entries of translated connections: found, kept alive, mended, made. */
#ifndef HEDDLE_NAT_H
#define HEDDLE_NAT_H

#include "balance.h"
#include "checksum.h"
#include "drop.h"
#include "flow-maps.h"
#include "nat-maps.h"
#include "packet.h"
#include "pod-maps.h"
#include "service-maps.h"

#define NAT_SECOND 1000000000ULL
/* At 90 % of the ports in use, one connection in a thousand finds none. */
#define PORT_TRIES 64
/* Slots that a pod whose connections live looks at for a new one. */
#define SHARE_TRIES 16

static __always_inline void *nat_map(__u32 family)
{
	return family == 4 ? (void *)&nat4 : (void *)&nat6;
}

/* `leaving` of the key of an entry that has these flags. */
static __always_inline __u8 is_leaving(__u32 flags)
{
	return (flags & (NAT_MASQUERADE | NAT_REPLY)) == NAT_MASQUERADE;
}

/* Of an entry whose flags, as far as they tell where it is looked for, are `flags`. */
static __always_inline void make_nat_key(struct nat_key *key, const struct packet *p, __u32 flags)
{
	__builtin_memcpy(key->src, &p->src, 32);
	key->sport = p->sport;
	key->dport = p->dport;
	key->protocol = p->protocol;
	key->leaving = is_leaving(flags);
	key->zeroes[0] = key->zeroes[1] = 0;
}

/* Of the entry that would rewrite what answers the packet: a quoted one, or one that comes to be. */
static __always_inline void make_answer_key(struct nat_key *key, const struct packet *p, __u32 flags)
{
	__builtin_memcpy(key->src, &p->dst, 16);
	__builtin_memcpy(key->dst, &p->src, 16);
	key->sport = p->dport;
	key->dport = p->sport;
	key->protocol = p->protocol;
	key->leaving = is_leaving(flags);
	key->zeroes[0] = key->zeroes[1] = 0;
}

/* The other half's key: this one's value with its ends swapped. */
static __always_inline void partner_key(struct nat_key *key, const struct nat_value *value, __u8 protocol)
{
	__builtin_memcpy(key->src, value->dst, 16);
	__builtin_memcpy(key->dst, value->src, 16);
	key->sport = value->dport;
	key->dport = value->sport;
	key->protocol = protocol;
	key->leaving = is_leaving(value->flags ^ NAT_REPLY);
	key->zeroes[0] = key->zeroes[1] = 0;
}

/* Seconds without a packet. TCP: RFC 5382, UDP: RFC 4787, ICMP: RFC 5508. */
static __always_inline __u32 nat_timeout(__u8 protocol, __u32 flags)
{
	switch (protocol) {
	case IPPROTO_TCP:
		if (flags & NAT_RESET)
			return 10;
		if ((flags & NAT_FIN_REQUEST) && (flags & (NAT_FIN_REPLY | NAT_DSR)))
			return 30;
		return flags & NAT_ANSWERED ? 7440 : 60;
	case IPPROTO_UDP:
		return flags & NAT_ANSWERED ? 180 : 60;
	case IPPROTO_SCTP:
		if (flags & NAT_RESET)
			return 10;
		return flags & NAT_ANSWERED ? 7440 : 60;
	}
	return 60;
}

static __always_inline int nat_expired(const struct nat_value *value, __u8 protocol, __u64 now)
{
	return now > value->last && now - value->last > nat_timeout(protocol, value->flags) * NAT_SECOND;
}

static __always_inline int is_over(const struct nat_value *value)
{
	return (value->flags & NAT_RESET) ||
	       ((value->flags & NAT_FIN_REQUEST) && (value->flags & (NAT_FIN_REPLY | NAT_DSR)));
}

/* Its backend is gone, and did not say so to the client, or it would not begin again. */
static __always_inline int is_orphan(const struct nat_value *value)
{
	__u32 backend = value->backend;

	return backend && !bpf_map_lookup_elem(&backends, &backend);
}

/* Its backend has one less. */
static __always_inline void uncount_flow(const struct nat_value *value)
{
	if (value->flags & NAT_COUNTED)
		count_in(&backend_flows, value->backend, -1);
}

static __noinline int nat_forget(const struct packet *p, const struct nat_key *key, const struct nat_value *value)
{
	__u32 zero = 0;
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);

	if (!pair)
		return 0;
	uncount_flow(value);
	partner_key(&pair->spare, value, p->protocol);
	bpf_map_delete_elem(nat_map(p->family), &pair->spare);
	bpf_map_delete_elem(nat_map(p->family), key);
	return 0;
}

/* What the packet changes about its connection, in both halves. */
static __always_inline __u32 nat_flags_after(const struct nat_value *value, const struct packet *p)
{
	__u32 flags = value->flags;

	/* Of a connection whose answers go elsewhere, an acknowledgement says that there was one. */
	if ((flags & NAT_REPLY) || ((flags & NAT_DSR) && !(p->tcp_flags & TCP_SYN)))
		flags |= NAT_ANSWERED;
	if (p->tcp_flags & TCP_FIN)
		flags |= flags & NAT_REPLY ? NAT_FIN_REPLY : NAT_FIN_REQUEST;
	if (p->tcp_flags & TCP_RST)
		flags |= NAT_RESET;
	return flags;
}

/* Eviction takes single entries: the half that is used keeps the other, and makes it again. */
static __noinline int nat_keep(const struct packet *p, const struct nat_key *key, struct nat_value *value, __u64 now)
{
	__u32 flags = nat_flags_after(value, p), zero = 0;
	struct nat_pair *pair;
	struct nat_value *other;

	if (flags == value->flags && now - value->last < NAT_SECOND)
		return 0;
	value->flags = flags;
	value->last = now;
	if ((flags & NAT_COUNTED) && is_over(value)) {
		uncount_flow(value);
		value->flags = flags &= ~NAT_COUNTED;
	}
	pair = bpf_map_lookup_elem(&nat_scratch, &zero);
	if (!pair)
		return 0;
	partner_key(&pair->reply, value, p->protocol);
	other = bpf_map_lookup_elem(nat_map(p->family), &pair->reply);
	if (other) {
		other->last = now;
		other->flags = (flags & ~NAT_REPLY) | (other->flags & NAT_REPLY);
		return 0;
	}
	if (flags & NAT_DSR)
		return 0;
	count_nat(NAT_MENDED);
	pair->back = *value;
	pair->back.flags ^= NAT_REPLY;
	pair->back.packets = 0;
	__builtin_memcpy(pair->back.src, key->dst, 16);
	__builtin_memcpy(pair->back.dst, key->src, 16);
	pair->back.sport = key->dport;
	pair->back.dport = key->sport;
	bpf_map_update_elem(nat_map(p->family), &pair->reply, &pair->back, BPF_NOEXIST);
	return 0;
}

static __always_inline void value_ends(const struct nat_value *value, struct ends *out)
{
	__builtin_memcpy(&out->src, value->src, 32);
	out->sport = value->sport;
	out->dport = value->dport;
}

/*
 * Rewrites a packet of a known connection whose flags, of those in `mask`, are `want`. 1: done, and `*flags` tells
 * of the entry; 0: there is none; negative: the packet is to be dropped.
 */
__noinline int nat_follow(struct __sk_buff *skb, struct packet *p, __u32 mask, __u32 want, __u32 *flags)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct nat_value *value;
	struct nat_key key;
	struct ends to;

	if (!p || !flags)
		return -1;
	make_nat_key(&key, p, want);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	*flags = value ? value->flags : 0;
	if (!value || (value->flags & mask) != want)
		return 0;
	if (nat_expired(value, p->protocol, now) ||
	    (is_syn(p->tcp_flags) && !(value->flags & NAT_REPLY) &&
	     (is_over(value) || is_orphan(value)))) {
		count_nat(NAT_EXPIRED);
		nat_forget(p, &key, value);
		return 0;
	}
	value->packets++;
	value_ends(value, &to);
	nat_keep(p, &key, value, now);
	return rewrite(skb, p, &to) ? -1 : 1;
}

/* The port is a socket's of this node, which chose it itself. */
__noinline int port_in_use(struct __sk_buff *skb, const struct packet *p, const struct ends *to, __u32 port)
{
	if (!p || !to)
		return 1;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sock;

	/* As a packet of the other end would look for it. */
	if (p->family == 4) {
		tuple.ipv4.saddr = to->dst.words[3];
		tuple.ipv4.daddr = to->src.words[3];
		tuple.ipv4.sport = to->dport;
		tuple.ipv4.dport = port;
		if (p->protocol == IPPROTO_TCP)
			sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
		else if (p->protocol == IPPROTO_UDP)
			sock = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
		else
			return 0;
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &to->dst, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &to->src, 16);
		tuple.ipv6.sport = to->dport;
		tuple.ipv6.dport = port;
		if (p->protocol == IPPROTO_TCP)
			sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
		else if (p->protocol == IPPROTO_UDP)
			sock = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
		else
			return 0;
	}
	if (!sock)
		return 0;
	bpf_sk_release(sock);
	return 1;
}

/* Of addresses. */
static __always_inline int same_bytes(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* Of an entry whose place another connection may have. */
static __always_inline int is_free(const struct nat_value *value, __u8 protocol, __u64 now)
{
	return nat_expired(value, protocol, now) || (is_over(value) && now - value->last > 30 * NAT_SECOND);
}

/*
 * A connection that is not translated where its pod is, and lives, has the ends that the one of `nat_scratch` would
 * have: nobody could tell their answers apart.
 */
__noinline int is_straight(__u32 family, __u8 protocol)
{
	__u32 zero = 0;
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);
	struct nat_value *value;
	struct flow *flow;
	struct ends *to;

	if (!pair)
		return 0;
	/* By the same port the server may be asked through a service: nothing straight, and its answers end alike. */
	pair->spare = pair->reply;
	pair->spare.leaving = 1;
	value = bpf_map_lookup_elem(nat_map(family), &pair->spare);
	if (value && !is_free(value, protocol, pair->to.last))
		return 1;
	to = &pair->plan.to;
	if (family == 4) {
		struct flow_key4 key;

		make_key4(&key, to->src.words[3], to->dst.words[3], to->sport, to->dport, protocol);
		flow = bpf_map_lookup_elem(&flows4, &key);
		if (!flow)
			flow = bpf_map_lookup_elem(&crowd4, &key);
	} else {
		struct flow_key6 key;

		make_key6(&key, &to->src, &to->dst, to->sport, to->dport, protocol);
		flow = bpf_map_lookup_elem(&flows6, &key);
		if (!flow)
			flow = bpf_map_lookup_elem(&crowd6, &key);
	}
	return flow && !(flow->flags & FLOW_TRANSLATED) && !is_idle(flow, pair->to.last);
}

/* Puts `pair->reply` in, unless it is another connection's. */
static __always_inline int claim(const struct packet *p, struct nat_pair *pair)
{
	void *map = nat_map(p->family);
	struct nat_value *there;

	if (!bpf_map_update_elem(map, &pair->reply, &pair->back, BPF_NOEXIST))
		return 0;
	there = bpf_map_lookup_elem(map, &pair->reply);
	if (!there)
		return -1;
	/* What is left of this very connection, or of one that is long over. */
	if (!(same_bytes(there->dst, pair->back.dst) && there->dport == pair->back.dport &&
	      same_bytes(there->src, pair->back.src) && there->sport == pair->back.sport) &&
	    !is_free(there, p->protocol, pair->back.last))
		return -1;
	nat_forget(p, &pair->reply, there);
	return bpf_map_update_elem(map, &pair->reply, &pair->back, BPF_NOEXIST);
}

/*
 * Claims the answers of `nat_scratch`'s connection at its own port or, with `other`, at the one that `draw` hits.
 * 0: it has it. Not static: the loop around it is judged without it.
 */
__noinline int claim_port(struct __sk_buff *skb, const struct packet *p, __u32 draw, __u32 other)
{
	__u32 zero = 0;
	struct edge_settings *settings = bpf_map_lookup_elem(&edge_settings, &zero);
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);

	if (!p || !pair || !settings)
		return -1;
	if (other) {
		__u32 count = settings->ports ? settings->ports : 1;
		__be16 port = bpf_htons(settings->first_port + draw % count);

		if ((pair->plan.flags & NAT_SOURCE) && port_in_use(skb, p, &pair->plan.to, port))
			return -1;
		pair->plan.to.sport = port;
		pair->to.sport = port;
		pair->reply.dport = port;
	}
	/* From an address of the node's the port is nobody else's. */
	if (((pair->plan.flags & NAT_SOURCE) || !is_straight(p->family, p->protocol)) && !claim(p, pair)) {
		bpf_map_update_elem(nat_map(p->family), &pair->request, &pair->to, BPF_ANY);
		count_nat(NAT_CREATED);
		return 0;
	}
	count_nat(NAT_PORT_RETRIED);
	return -1;
}

/*
 * A stream that was answered and lives. All else may give way to newer connections of its pod. Not static: the loop
 * that asks is judged without it.
 */
__noinline int is_kept(const struct nat_value *value, __u8 protocol, __u64 now)
{
	return value && (value->flags & NAT_ANSWERED) && !is_over(value) && !nat_expired(value, protocol, now) &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP);
}

/*
 * A slot of its pod's for the connection of `nat_scratch`, so that no pod fills the table: with all of them taken,
 * an older connection of the same pod gives way. Negative: those are streams that live.
 */
__noinline int take_share(const struct packet *p)
{
	__u32 zero = 0;
	struct edge_settings *settings = bpf_map_lookup_elem(&edge_settings, &zero);
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);
	struct nat_user fresh = {}, *user;
	struct nat_share_key key = {};
	struct address source;
	struct pod *pod;

	if (!p || !pair || !settings || !settings->share)
		return 0;
	/* An argument is no key for Linux 6.1. */
	__builtin_memcpy(&source, &p->src, sizeof(source));
	pod = find_pod(&source);
	if (!pod)
		return 0;
	key.link = pod->link;
	user = bpf_map_lookup_elem(&nat_users, &key.link);
	if (!user) {
		bpf_map_update_elem(&nat_users, &key.link, &fresh, BPF_NOEXIST);
		user = bpf_map_lookup_elem(&nat_users, &key.link);
	}
	if (!user)
		return 0;
	for (__u32 i = 0; i < SHARE_TRIES; i++) {
		__u32 turn = p->family == 6 ? __sync_fetch_and_add(&user->next[1], 1) :
					      __sync_fetch_and_add(&user->next[0], 1);
		struct nat_value *value = 0;
		struct nat_key *held;

		key.slot = turn % settings->share | (p->family == 6 ? 1U << 31 : 0);
		held = bpf_map_lookup_elem(&nat_shares, &key);
		if (held)
			value = bpf_map_lookup_elem(nat_map(p->family), held);
		if (value && is_kept(value, held->protocol, pair->to.last))
			continue;
		if (value) {
			uncount_flow(value);
			partner_key(&pair->spare, value, held->protocol);
			bpf_map_delete_elem(nat_map(p->family), &pair->spare);
			bpf_map_delete_elem(nat_map(p->family), held);
			user->gave_way++;
			count_nat(NAT_GAVE_WAY);
		}
		bpf_map_update_elem(&nat_shares, &key, &pair->request, BPF_ANY);
		user->created++;
		return 0;
	}
	user->refused++;
	return -1;
}

/*
 * Makes both halves of the connection of `nat_scratch`'s plan, whose `to.sport` becomes the port that was free.
 * Else why not: DROP_NO_PORT, DROP_SHARE.
 */
__noinline int nat_create(struct __sk_buff *skb, const struct packet *p)
{
	__u32 zero = 0, start;
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);
	struct nat_plan *plan;
	int own;

	if (!p || !pair)
		return DROP_FAULT;
	plan = &pair->plan;
	own = plan->flags & NAT_SOURCE;
	make_nat_key(&pair->request, p, plan->flags);
	__builtin_memcpy(pair->to.src, &plan->to.src, 32);
	pair->to.sport = plan->to.sport;
	pair->to.dport = plan->to.dport;
	pair->to.flags = plan->flags;
	pair->to.zero = 0;
	pair->to.last = pair->to.created = bpf_ktime_get_coarse_ns();
	pair->to.backend = plan->backend;
	pair->to.packets = 1;
	pair->back = pair->to;
	__builtin_memcpy(pair->back.src, &p->dst, 16);
	__builtin_memcpy(pair->back.dst, &p->src, 16);
	pair->back.sport = p->dport;
	pair->back.dport = p->sport;
	pair->back.flags |= NAT_REPLY;
	pair->back.packets = 0;
	partner_key(&pair->reply, &pair->to, p->protocol);
	if (plan->flags & NAT_DSR) {
		bpf_map_update_elem(nat_map(p->family), &pair->request, &pair->to, BPF_ANY);
		return 0;
	}
	if (take_share(p))
		return DROP_SHARE;
	start = bpf_get_prandom_u32();
	/* Its own port first, where the address is its own too. */
	for (__u32 i = 0; i < PORT_TRIES; i++)
		if (!claim_port(skb, p, start + i * 7919, own || i > 0))
			return 0;
	count_nat(NAT_PORT_EXHAUSTED);
	return DROP_NO_PORT;
}

/*
 * An ICMP error about a packet of a translated connection: the quoted packet becomes what its sender sent, the
 * error goes to that sender. 1: done; 0: none of ours; negative: drop.
 */
__noinline int nat_follow_error(struct __sk_buff *skb, struct packet *p, __u32 mask, __u32 want)
{
	struct packet inner = {};
	struct nat_value *value;
	struct nat_key key;
	struct ends to;

	if (!p)
		return -1;
	if (parse_inner(skb, p, &inner) != PARSE_OK)
		return 0;
	make_answer_key(&key, &inner, want);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	if (!value || (value->flags & mask) != want)
		return 0;
	__builtin_memcpy(&to.src, value->dst, 16);
	__builtin_memcpy(&to.dst, value->src, 16);
	to.sport = value->dport;
	to.dport = value->sport;
	if (rewrite_inner(skb, p, &inner, &to))
		return -1;
	/* The error itself: from the server that the client knows, or from a router on the way as it is. */
	struct ends outer = { .src = p->src, .dst = to.src, .sport = p->sport, .dport = p->dport };

	if (same_address(&p->src, &inner.dst))
		outer.src = to.dst;
	return rewrite(skb, p, &outer) ? -1 : 1;
}

#endif
