/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The decisions of translate.h and nat.h, asked without their effects (dry.h). */
#ifndef HEDDLE_DRY_TRANSLATE_H
#define HEDDLE_DRY_TRANSLATE_H

#include "dry.h"
#include "translate.h"

/* As nat_follow, of a connection that is known. */
static __always_inline int dry_follow(struct packet *p, __u32 mask, __u32 want)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct nat_value *value;
	struct nat_key key;

	make_nat_key(&key, p, want);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	if (!value || (value->flags & mask) != want || nat_expired(value, p->protocol, now))
		return 0;
	if (is_syn(p->tcp_flags) && !(value->flags & NAT_REPLY) &&
	    (is_over(value) || is_orphan(value)))
		return 0;
	__builtin_memcpy(&p->src, value->src, 32);
	p->sport = value->sport;
	p->dport = value->dport;
	return 1;
}

/* As choose_backend, without remembering the client; the cursor is only thought to be `turn` on. */
__noinline __u32 dry_choose(const struct packet *p, __u32 side, __u32 turn)
{
	struct service_client client = {};
	struct frontend *frontend;
	struct service_view view;
	struct affinity *known;
	struct backend *backend;
	__u32 cursor, *next, id;

	if (!p)
		return 0;
	frontend = find_frontend(p->dst.words, p->protocol, p->dport);
	if (!frontend)
		return 0;
	view = side == SIDE_OUTSIDE ? frontend->outside : frontend->inside;
	if (!view.slots)
		return 0;
	copy_address(client.affinity.client, p->src.words);
	client.flow = flow_hash(p->src.words, p->dst.words, p->sport, p->dport, p->protocol);
	if (frontend->affinity_seconds) {
		client.affinity.table = view.table;
		known = bpf_map_lookup_elem(&affinities, &client.affinity);
		if (known && bpf_ktime_get_ns() - known->last < frontend->affinity_seconds * NS_PER_SECOND) {
			id = known->backend;
			backend = bpf_map_lookup_elem(&backends, &id);
			if (backend && backend->weight && (backend->flags & side) &&
			    backend->frontend == frontend->number)
				return id;
		}
	}
	if (frontend->algorithm != ALGORITHM_ROUND_ROBIN)
		return draw(frontend, &view, &client);
	cursor = frontend->number % CURSORS;
	next = bpf_map_lookup_elem(&service_cursors, &cursor);
	return table_slot(&view, next ? (*next + turn) % view.slots : 0);
}

/* As connect_frontend of a pod or the uplink. How many ports and connections are in use is not asked. */
static __always_inline int dry_connect(struct packet *p, struct dry_answer *answer, __u32 origin, __u32 turn)
{
	struct frontend *frontend = find_frontend(p->dst.words, p->protocol, p->dport);
	__u32 client = origin == ORIGIN_UPLINK ? net_flags_of(&p->src) : NET_INSIDE;
	__u32 side = client & NET_INSIDE ? SIDE_INSIDE : SIDE_OUTSIDE;
	struct address server;
	struct backend *backend;
	int hidden;

	if (!frontend)
		return TR_NONE;
	if (side == SIDE_OUTSIDE && frontend->kind == KIND_CLUSTER_IP)
		answer->reason = DROP_NOT_OUTSIDE;
	else if (side == SIDE_OUTSIDE && !source_allowed(frontend, p->src.words))
		answer->reason = DROP_SOURCE_RANGE;
	if (answer->reason)
		return TR_DROP;
	answer->backend = dry_choose(p, side, turn);
	backend = answer->backend ? bpf_map_lookup_elem(&backends, &answer->backend) : 0;
	if (!backend)
		return frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? TR_DROP : TR_REFUSE;
	copy_address(&server, (const __u32 *)backend->address);
	if (is_tunnel_end(&server, backend->port, p->protocol)) {
		answer->reason = DROP_TUNNEL;
		return TR_DROP;
	}
	hidden = same_address(&server, &p->src);
	if (origin == ORIGIN_UPLINK && !(backend->flags & BACKEND_LOCAL))
		hidden |= !(frontend->flags & FRONTEND_DSR) || (client & NET_INSIDE);
	p->dst = server;
	p->dport = backend->port;
	return hidden && own_address(p, &p->src) ? TR_DROP : TR_DONE;
}

/* As translate_request of a pod or the uplink. */
static __always_inline int dry_translate(struct packet *p, struct dry_answer *answer, __u32 origin, __u32 turn)
{
	__u32 place = place_flags(origin);
	int result;

	if (has_ports(p)) {
		if (dry_follow(p, place | NAT_REPLY | NAT_MASQUERADE, place)) {
			answer->flags |= DRY_KNOWN_TRANSLATION;
			return TR_DONE;
		}
		result = dry_connect(p, answer, origin, turn);
		if (result != TR_NONE)
			return result;
	}
	return service_range_of(p->dst.words) == RANGE_SERVICES ? TR_REFUSE : TR_NONE;
}

/* 1: translation was the end of it. */
static __always_inline int dry_stopped(struct dry_answer *answer, int result)
{
	if (result == TR_DROP)
		dry_drop(answer, answer->reason ? answer->reason : DROP_NO_BACKEND);
	if (result == TR_REFUSE)
		answer->end = DRY_REFUSED;
	return result == TR_DROP || result == TR_REFUSE;
}

#endif
