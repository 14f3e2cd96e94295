/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Service translation of packets that no cgroup hook has translated. See src/datapath/ebpf/edge/README.md. */
#ifndef HEDDLE_TRANSLATE_H
#define HEDDLE_TRANSLATE_H

#include "balance.h"
#include "drop.h"
#include "nat.h"
#include "pod-maps.h"
#include "refuse.h"
#include "service-maps.h"

/*
 * TR_NONE: nothing of a service, the packet is as it was. TR_DONE: packet and *p are rewritten, every pointer
 * into the packet is stale. TR_DROP: drop in silence, it is counted by the caller. TR_REFUSE: answer with refuse().
 * TR_NEW: TR_NONE, and no translated connection has the packet's ends.
 */
enum translation { TR_NONE, TR_DONE, TR_DROP, TR_REFUSE, TR_NEW };

/* `skb->mark` of what the uplink translated and whose answers a pod's link is to translate back. */
#define MARK_TRANSLATED 0x68656474

enum origin { ORIGIN_POD, ORIGIN_UPLINK, ORIGIN_OVERLAY, ORIGIN_NODE };

static __always_inline struct edge_settings *get_edge_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&edge_settings, &zero);
}

static __always_inline struct net_value *find_net(const struct address *address)
{
	struct net_key key = { .prefix = 128 };

	copy_address(key.address, (const __u32 *)address);
	return bpf_map_lookup_elem(&edge_nets, &key);
}

static __always_inline __u32 net_flags_of(const struct address *address)
{
	struct net_value *net = find_net(address);

	return net ? net->flags : 0;
}

/* This node's address of the packet's family. Negative: it has none. */
static __always_inline int own_address(const struct packet *p, struct address *out)
{
	struct edge_settings *settings = get_edge_settings();

	if (!settings)
		return -1;
	copy_address(out, (const __u32 *)(p->family == 4 ? settings->node4 : settings->node6));
	return out->words[3] ? 0 : -1;
}

static __always_inline int has_ports(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP || p->protocol == IPPROTO_SCTP;
}

/* What of an entry says that it is a request's, of this place. */
static __always_inline __u32 place_flags(__u32 origin)
{
	return origin == ORIGIN_UPLINK || origin == ORIGIN_NODE ? NAT_AT_UPLINK : NAT_AT_POD;
}

/* In every namespace. */
#define LOOPBACK_LINK 1

/* To this node's own sockets from an address of its own, which the stack believes of nobody but its loopback. */
static __always_inline int into_loopback(struct __sk_buff *skb)
{
	__u8 macs[12] = {};

	return bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) ? TC_ACT_SHOT :
								     bpf_redirect(LOOPBACK_LINK, BPF_F_INGRESS);
}

/* Whether the client stays visible, and where answers pass. Negative: drop. */
static __always_inline int plan_source(const struct packet *p, const struct frontend *frontend,
				       const struct backend *backend, __u32 origin, __u32 client,
				       struct nat_plan *plan)
{
	int hidden = same_address(&plan->to.dst, &p->src);

	plan->flags = place_flags(origin);
	if (origin == ORIGIN_NODE) {
		/* Answers of pods of this node come by their links, others by the uplink. */
		plan->flags = NAT_AT_POD | NAT_AT_UPLINK;
		/* What it says to pods straight is in no flow cache: a port that no socket has keeps the two apart. */
		if (!hidden) {
			plan->flags |= NAT_SOURCE;
			return 0;
		}
	}
	if (origin == ORIGIN_UPLINK) {
		int remote = !(backend->flags & BACKEND_LOCAL);

		if (remote && (frontend->flags & FRONTEND_DSR) && !(client & NET_INSIDE))
			plan->flags |= NAT_DSR;
		else if (remote)
			hidden = 1;
		/* Answers to pods of other nodes go by the tunnel, and never see the uplink. */
		if (client & NET_POD)
			plan->flags |= NAT_AT_POD;
	}
	if (!hidden)
		return 0;
	plan->flags |= NAT_SOURCE;
	return own_address(p, &plan->to.src);
}

/* Where another node's packets are unwrapped, and whoever sends them is believed. */
static __always_inline int is_tunnel_end(const struct address *address, __be16 port, __u8 protocol)
{
	struct edge_settings *settings = get_edge_settings();

	return protocol == IPPROTO_UDP && settings && port &&
	       (port == settings->tunnel_port || port == settings->tunnel_port2) &&
	       ((net_flags_of(address) & (NET_OWN_NODE | NET_OTHER_NODE)) || own_address_kind(address));
}

static __always_inline struct nat_plan *get_nat_plan(void)
{
	__u32 zero = 0;
	struct nat_pair *pair = bpf_map_lookup_elem(&nat_scratch, &zero);

	return pair ? &pair->plan : 0;
}

/* Number of the backend for a new connection to a frontend; 0: none. Not static: verified by itself, once. */
__noinline __u32 choose_backend(const struct packet *p, __u32 side)
{
	struct service_client client = {};
	struct frontend *frontend;
	__u32 id = 0;

	if (!p)
		return 0;
	frontend = find_frontend(p->dst.words, p->protocol, p->dport);
	if (!frontend)
		return 0;
	copy_address(client.affinity.client, p->src.words);
	client.flow = flow_hash(p->src.words, p->dst.words, p->sport, p->dport, p->protocol);
	return select_backend(frontend, side, &client, &id) ? id : 0;
}

__noinline int connect_frontend(struct __sk_buff *skb, struct packet *p, __u32 origin)
{
	if (!p)
		return TR_DROP;
	__u32 client_net = origin == ORIGIN_UPLINK ? net_flags_of(&p->src) : NET_INSIDE;
	__u32 side = client_net & NET_INSIDE ? SIDE_INSIDE : SIDE_OUTSIDE;
	struct nat_plan *plan = get_nat_plan();
	struct frontend *frontend = find_frontend(p->dst.words, p->protocol, p->dport);
	struct backend *backend;
	__u32 failed;

	if (!frontend)
		return TR_NONE;
	if (!plan)
		return TR_DROP;
	if (side == SIDE_OUTSIDE) {
		if (frontend->kind == KIND_CLUSTER_IP) {
			count_drop(DROP_NOT_OUTSIDE, skb->len);
			return TR_DROP;
		}
		if (!source_allowed(frontend, p->src.words)) {
			count_drop(DROP_SOURCE_RANGE, skb->len);
			return TR_DROP;
		}
	}
	plan->backend = choose_backend(p, side);
	backend = plan->backend ? bpf_map_lookup_elem(&backends, &plan->backend) : 0;
	if (!backend)
		return frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? TR_DROP : TR_REFUSE;
	plan->to.src = p->src;
	copy_address(&plan->to.dst, (const __u32 *)backend->address);
	plan->to.sport = p->sport;
	plan->to.dport = backend->port;
	/* Who may say what a service's backends are may not speak for a node. */
	if (is_tunnel_end(&plan->to.dst, plan->to.dport, p->protocol)) {
		count_drop(DROP_TUNNEL, skb->len);
		return TR_DROP;
	}
	if (plan_source(p, frontend, backend, origin, client_net, plan))
		return TR_DROP;
	if (frontend->algorithm == ALGORITHM_LEAST_CONNECTION)
		plan->flags |= NAT_COUNTED;
	failed = nat_create(skb, p);
	if (failed) {
		count_drop(failed, skb->len);
		return TR_DROP;
	}
	if (plan->flags & NAT_COUNTED)
		count_in(&backend_flows, plan->backend, 1);
	return rewrite(skb, p, &plan->to) ? TR_DROP : TR_DONE;
}

static __always_inline int followed(int result)
{
	return result < 0 ? TR_DROP : result ? TR_DONE : TR_NONE;
}

/*
 * The beginning of a connection that is nobody's service, where a translated one has the same ends at its server: it
 * gets another source port, or answers to it would be taken for that one's.
 */
__noinline int avoid_translated(struct __sk_buff *skb, struct packet *p, __u32 origin)
{
	struct nat_plan *plan = get_nat_plan();
	struct nat_value *value;
	struct nat_key key;
	__u32 failed;

	/* The node has kept the two apart, and sees here what it has just translated. */
	if (!p || !plan || origin == ORIGIN_NODE)
		return TR_NONE;
	if (p->protocol == IPPROTO_TCP && !is_syn(p->tcp_flags))
		return TR_NONE;
	make_answer_key(&key, p, NAT_REPLY);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	if (!value || !(value->flags & NAT_REPLY) || is_free(value, p->protocol, bpf_ktime_get_coarse_ns()))
		return TR_NONE;
	ends_of(p, &plan->to);
	plan->backend = 0;
	plan->flags = place_flags(origin);
	failed = nat_create(skb, p);
	if (failed) {
		count_drop(failed, skb->len);
		return TR_DROP;
	}
	return rewrite(skb, p, &plan->to) ? TR_DROP : TR_DONE;
}

/*
 * A packet whose destination may be a frontend: picks a backend, rewrites, records the connection. `to_pod`: it is a
 * pod's, and so in no range of services.
 */
__noinline int translate_request(struct __sk_buff *skb, struct packet *p, __u32 origin, __u32 to_pod)
{
	if (!p)
		return TR_DROP;
	__u32 place = place_flags(origin), flags = 0;
	int result;

	if (p->flags & PACKET_ICMP_ERROR)
		return TR_NONE;
	if (has_ports(p)) {
		result = nat_follow(skb, p, place | NAT_REPLY | NAT_MASQUERADE, place, &flags);
		if (result)
			return followed(result);
		/* Through the tunnel comes what another node has translated; what it has not may have a port taken here. */
		result = origin == ORIGIN_OVERLAY ? TR_NONE : connect_frontend(skb, p, origin);
		if (result != TR_NONE)
			return result;
		result = avoid_translated(skb, p, origin);
		if (result != TR_NONE)
			return result;
	}
	if (!to_pod && origin != ORIGIN_OVERLAY && service_range_of(p->dst.words) == RANGE_SERVICES)
		return TR_REFUSE;
	return has_ports(p) && !flags ? TR_NEW : TR_NONE;
}

/* What `translate_reply` would find, before anybody takes a short way that passes it by. */
__noinline int answers_translated(const struct packet *p)
{
	__u32 want = NAT_AT_POD | NAT_REPLY;
	struct nat_value *value;
	struct nat_key key;

	if (!p)
		return 0;
	make_nat_key(&key, p, want);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	return value && (value->flags & want) == want && !nat_expired(value, p->protocol, bpf_ktime_get_coarse_ns());
}

/* A packet that may answer a translated connection. */
static __always_inline int translate_reply(struct __sk_buff *skb, struct packet *p)
{
	__u32 flags = 0;

	return followed(nat_follow(skb, p, NAT_AT_POD | NAT_REPLY, NAT_AT_POD | NAT_REPLY, &flags));
}

/* An ICMP error about a translated connection: outer and quoted headers. */
static __always_inline int translate_icmp_inner(struct __sk_buff *skb, struct packet *p)
{
	return followed(nat_follow_error(skb, p, NAT_AT_POD, NAT_AT_POD));
}

#define DSR_TAG 0x0a

/* Also in src/datapath/ebpf/edge/dsr.ts: FNV-1a of the 16 bytes, 28 bits of it. */
static __always_inline __u32 dsr_number(const struct address *address)
{
	__u32 hash = 0x811c9dc5;

	for (int i = 0; i < 16; i++)
		hash = (hash ^ address->bytes[i]) * 0x01000193;
	return hash & 0x0fffffff;
}

/*
 * A packet from the tunnel whose inner source MAC address names a service: its answers go straight to the client,
 * from that service (to-uplink). Whoever else has a MAC address with this tag is no name in `dsr_addresses`.
 */
static __always_inline void accept_dsr(struct __sk_buff *skb, const struct packet *p)
{
	struct dsr_address *service;
	__u32 zero = 0, number;
	struct nat_pair *pair;
	__u8 mac[6];

	if (!has_ports(p) || bpf_skb_load_bytes(skb, 6, mac, 6) || (mac[0] & 0x0f) != DSR_TAG)
		return;
	number = (__u32)(mac[0] >> 4) << 24 | mac[1] << 16 | mac[2] << 8 | mac[3];
	service = bpf_map_lookup_elem(&dsr_addresses, &number);
	pair = bpf_map_lookup_elem(&nat_scratch, &zero);
	if (!service || !pair)
		return;
	__builtin_memset(&pair->back, 0, sizeof(pair->back));
	copy_address(pair->back.src, (const __u32 *)service->address);
	copy_address(pair->back.dst, p->src.words);
	__builtin_memcpy(&pair->back.sport, mac + 4, 2);
	pair->back.dport = p->sport;
	pair->back.flags = NAT_REPLY | NAT_AT_UPLINK | NAT_DSR;
	pair->back.last = pair->back.created = bpf_ktime_get_coarse_ns();
	make_answer_key(&pair->reply, p, NAT_REPLY);
	bpf_map_update_elem(nat_map(p->family), &pair->reply, &pair->back, BPF_ANY);
}

#endif
