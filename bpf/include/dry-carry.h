/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The decisions of carry.h, asked without their effects (dry.h). They are made of the same look-ups and judgements;
 * that both say the same is tested (src/datapath/ebpf/core/draws.test.ts).
 */
#ifndef HEDDLE_DRY_CARRY_H
#define HEDDLE_DRY_CARRY_H

#include "carry.h"
#include "dry.h"

/* What a program says of a packet before it is carried: 0: go on, a drop_reason, or one of these. */
#define ADMIT_STACK (-1)
/* To the pod at whose link it is. */
#define ADMIT_HERE (-2)

/* As nat_follow, of a connection that is known. */
static __always_inline int dry_follow(struct packet *p, __u32 mask, __u32 want)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct nat_value *value;
	struct nat_key key;

	make_nat_key(&key, p);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	if (!value || (value->flags & mask) != want || nat_expired(value, p->protocol, now))
		return 0;
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && !(value->flags & NAT_REPLY) &&
	    (is_over(value) || is_orphan(value)))
		return 0;
	__builtin_memcpy(&p->src, value->src, 32);
	p->sport = value->sport;
	p->dport = value->dport;
	return 1;
}

/* As choose_backend for a client inside, without remembering the client; the cursor is only thought to be `turn` on. */
__noinline __u32 dry_choose(const struct packet *p, __u32 turn)
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
	if (!frontend || !frontend->inside.slots)
		return 0;
	copy_address(client.affinity.client, p->src.words);
	client.flow = flow_hash(p->src.words, p->dst.words, p->sport, p->dport, p->protocol);
	view = frontend->inside;
	if (frontend->affinity_seconds) {
		client.affinity.table = view.table;
		known = bpf_map_lookup_elem(&affinities, &client.affinity);
		if (known && bpf_ktime_get_ns() - known->last < frontend->affinity_seconds * NS_PER_SECOND) {
			id = known->backend;
			backend = bpf_map_lookup_elem(&backends, &id);
			if (backend && backend->weight && (backend->flags & SIDE_INSIDE) &&
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

/* As connect_frontend for a pod. How many ports and connections are in use is not asked. */
static __always_inline int dry_connect(struct packet *p, struct dry_answer *answer, __u32 turn)
{
	struct frontend *frontend = find_frontend(p->dst.words, p->protocol, p->dport);
	struct address server;
	struct backend *backend;

	if (!frontend)
		return TR_NONE;
	answer->backend = dry_choose(p, turn);
	backend = answer->backend ? bpf_map_lookup_elem(&backends, &answer->backend) : 0;
	if (!backend)
		return frontend->flags & FRONTEND_DROP_WHEN_EMPTY ? TR_DROP : TR_REFUSE;
	copy_address(&server, (const __u32 *)backend->address);
	if (is_tunnel_end(&server, backend->port, p->protocol)) {
		answer->reason = DROP_TUNNEL;
		return TR_DROP;
	}
	if (same_address(&server, &p->src) && own_address(p, &p->src))
		return TR_DROP;
	p->dst = server;
	p->dport = backend->port;
	return TR_DONE;
}

/* As translate_request for a pod. */
static __always_inline int dry_translate(struct packet *p, struct dry_answer *answer, __u32 turn)
{
	int result;

	if (has_ports(p)) {
		if (dry_follow(p, NAT_AT_POD | NAT_REPLY | NAT_MASQUERADE, NAT_AT_POD)) {
			answer->flags |= DRY_KNOWN_TRANSLATION;
			return TR_DONE;
		}
		result = dry_connect(p, answer, turn);
		if (result != TR_NONE)
			return result;
	}
	return service_range_of(p->dst.words) == RANGE_SERVICES ? TR_REFUSE : TR_NONE;
}

/* As settle. 0: it may pass. */
static __noinline int dry_settle(const struct packet *p, __u32 link, struct dry_answer *answer)
{
	__u32 generation = current_generation(), way = 0, reply = is_answer(p), judged;
	struct flow *flow = find_flow(p, &way);
	struct judgement j = {};

	way &= 1;
	if (flow && !is_idle(flow, bpf_ktime_get_coarse_ns()) && !begins_again(flow, way, p->tcp_flags)) {
		answer->flags |= DRY_KNOWN;
		reply = (way ^ flow->initiator) & 1;
		if (reply)
			answer->flags |= DRY_ANSWERS;
		if (flow->generation == generation && flow->way[way].link == link) {
			answer->egress_rule = flow->egress_rule;
			answer->ingress_rule = flow->ingress_rule;
			if (!(flow->flags & FLOW_DENIED))
				return 0;
			answer->flags |= flow->flags & FLOW_DENIED_EGRESS ? DRY_DENIED_EGRESS : DRY_DENIED_INGRESS;
			return 1;
		}
	}
	judged = judge(p, reply, generation & 1, &j);
	answer->egress_rule = j.egress.rule;
	answer->ingress_rule = j.ingress.rule;
	if (judged)
		answer->flags |= judged == JUDGED_DENY_EGRESS ? DRY_DENIED_EGRESS : DRY_DENIED_INGRESS;
	return judged;
}

/* As forward_to. */
static __noinline int dry_forward(const struct packet *p, struct dry_answer *answer)
{
	struct place place = {};

	switch (locate(&p->dst, &place)) {
	case PLACE_NOBODY:
		dry_drop(answer, DROP_NO_ROUTE);
		return 0;
	case PLACE_ELSEWHERE:
		answer->end = DRY_STACK;
		return 0;
	}
	answer->end = place.kind == PLACE_POD ? DRY_POD : DRY_OVERLAY;
	answer->link = place.link;
	__builtin_memcpy(answer->mac, place.mac, 6);
	return 0;
}

static __always_inline int dry_decide(struct packet *p, struct dry_answer *answer, __u32 origin, __u32 link,
				      __u32 turn)
{
	int result = TR_NONE;

	if (origin == ORIGIN_POD)
		result = dry_translate(p, answer, turn);
	if (result == TR_DROP) {
		dry_drop(answer, answer->reason ? answer->reason : DROP_NO_BACKEND);
		return 0;
	}
	if (result == TR_REFUSE) {
		answer->end = DRY_REFUSED;
		return 0;
	}
	if (result == TR_DONE)
		answer->flags |= DRY_TRANSLATED;
	if (result == TR_DONE && own_address_kind(&p->src))
		return dry_forward(p, answer);
	if (own_address_kind(&p->dst)) {
		if (!dry_follow(p, NAT_AT_POD | NAT_REPLY, NAT_AT_POD | NAT_REPLY)) {
			answer->end = DRY_STACK;
			return 0;
		}
		answer->flags |= DRY_KNOWN_TRANSLATION;
		return dry_forward(p, answer);
	}
	if (dry_settle(p, link, answer)) {
		dry_drop(answer, DROP_POLICY);
		return 0;
	}
	if (origin != ORIGIN_NODE && result != TR_DONE &&
	    dry_follow(p, NAT_AT_POD | NAT_REPLY, NAT_AT_POD | NAT_REPLY))
		answer->flags |= DRY_KNOWN_TRANSLATION;
	return dry_forward(p, answer);
}

/* Of the packet in `carry_memory`, of which its program said `admitted`. */
static __noinline int dry_carry(struct __sk_buff *skb, __u32 origin, __u32 link, int admitted)
{
	struct carry_memory *memory = carry_memory();
	struct dry_answer *answer = dry_answer();

	if (!memory || !answer)
		return TC_ACT_SHOT;
	if (admitted == ADMIT_STACK) {
		answer->end = DRY_STACK;
	} else if (admitted == ADMIT_HERE) {
		answer->end = DRY_POD;
		answer->link = skb->ifindex;
	} else if (admitted) {
		dry_drop(answer, admitted);
	} else {
		dry_decide(&memory->packet, answer, origin, link, skb->priority);
	}
	return dry_tell(skb, &memory->packet, answer);
}

/* Before its program knows whose it is. */
static __always_inline int turn_away(struct __sk_buff *skb, __u32 reason)
{
	return is_dry(skb) ? dry_carry(skb, ORIGIN_NODE, 0, reason) : drop(skb, reason);
}

#endif
