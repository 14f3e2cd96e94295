/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The decisions of carry.h, asked without their effects (dry.h). They are made of the same look-ups and judgements;
 * that both say the same is tested (src/datapath/ebpf/core/draws.test.ts).
 */
#ifndef HEDDLE_DRY_CARRY_H
#define HEDDLE_DRY_CARRY_H

#include "carry.h"
#include "dry-translate.h"

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
		result = dry_translate(p, answer, origin, turn);
	if (origin == ORIGIN_OVERLAY && has_ports(p) && dry_follow(p, NAT_AT_POD | NAT_REPLY | NAT_MASQUERADE, NAT_AT_POD)) {
		answer->flags |= DRY_KNOWN_TRANSLATION;
		result = TR_DONE;
	}
	if (dry_stopped(answer, result))
		return 0;
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
	if (result != TR_DONE && dry_follow(p, NAT_AT_POD | NAT_REPLY, NAT_AT_POD | NAT_REPLY))
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
