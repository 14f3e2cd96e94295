/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The long way of a packet whose sender is believed already: translate, find or decide its flow, send it on. The
 * short way is quick.h.
 */
#ifndef HEDDLE_CARRY_H
#define HEDDLE_CARRY_H

#include "drop.h"
#include "flow.h"
#include "handover.h"
#include "route.h"
#include "translate.h"

/* What is decided for one packet on its way. */
struct passage {
	/* The one before anything was looked up: what changes meanwhile is of a later one. */
	__u32 generation;
	__u32 origin;
	/* Where it came in. */
	__u32 link;
	/* Index of its direction in `flow.way`. */
	__u32 way;
	__u64 now;
	/* Translated before it was judged, or its answers are to be. */
	__u32 translated;
	/* There was no entry of a translated connection between its ends. */
	__u32 untranslated;
	struct places places;
};

/* Of the packet at hand: the stack is 512 bytes for all that calls each other. */
struct carry_memory {
	struct packet packet;
	struct packet inner;
	struct passage passage;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct carry_memory);
} carry_scratch SEC(".maps");

static __always_inline struct carry_memory *carry_memory(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&carry_scratch, &zero);
}

static __always_inline int drop(struct __sk_buff *skb, __u32 reason)
{
	count_drop(reason, bytes_of(skb));
	return TC_ACT_SHOT;
}

/* Verified once for all that call it (see parse_packet). */
__noinline int refuse_here(struct __sk_buff *skb, struct packet *p)
{
	return p ? refuse(skb, p) : TC_ACT_SHOT;
}

static __noinline int fragment_ports_of(struct packet *p)
{
	return exchange_ports(&fragments, p);
}

/* Answers: what can only belong to a connection that the other end began. */
static __always_inline int is_answer(const struct packet *p)
{
	if (p->protocol == IPPROTO_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
	return is_icmp(p) && !p->sport && p->dport;
}

/* Of a connection that may have begun unseen: the cache lost it, or another backend let it in. */
static __always_inline int is_midstream(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && !(p->tcp_flags & TCP_SYN);
}

__noinline int tell_denied(struct __sk_buff *skb, const struct packet *p, const struct judgement *j, __u32 reply)
{
	if (!p || !j)
		return TC_ACT_SHOT;
	count_rule(j->egress.slot, packets_of(skb), bytes_of(skb));
	count_rule(j->ingress.slot, packets_of(skb), bytes_of(skb));
	if (j->judged == JUDGED_DENY_EGRESS)
		tell(p, &j->egress, EVENT_EGRESS, reply);
	else
		tell(p, &j->ingress, EVENT_INGRESS, reply);
	return drop(skb, DROP_POLICY);
}

/* A packet of a flow that was cut. */
static __always_inline int tell_cut(struct __sk_buff *skb, const struct packet *p, const struct flow *flow, __u32 reply)
{
	struct judgement j = {
		.egress = { flow->egress_rule, flow->egress_slot, VERDICT_ALLOW },
		.ingress = { flow->ingress_rule, flow->ingress_slot, VERDICT_DENY },
		.judged = JUDGED_DENY_INGRESS,
	};

	if (flow->flags & FLOW_DENIED_EGRESS) {
		j.egress.verdict = VERDICT_DENY;
		j.judged = JUDGED_DENY_EGRESS;
	}
	return tell_denied(skb, p, &j, reply);
}

static __always_inline void tell_allowed(const struct packet *p, const struct judgement *j)
{
	if (j->egress.rule)
		tell(p, &j->egress, EVENT_EGRESS, 0);
	if (j->ingress.rule)
		tell(p, &j->ingress, EVENT_INGRESS, 0);
}

/*
 * The stack asks for neighbours that it does not know, and has room for a thousand of them on the whole machine. A pod
 * may make it ask for NEIGHBOURS_MAX in NEIGHBOURS_WINDOW. 1: it has.
 */
__noinline int asks_too_much(struct __sk_buff *skb, const struct packet *p, __u32 link)
{
	struct flow_budget fresh = {}, *budget;
	struct bpf_fib_lookup fib;
	__u64 now = bpf_ktime_get_coarse_ns();

	if (!p)
		return 1;
	start_route(&fib, p, link);
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_NO_NEIGH)
		return 0;
	/* A gateway, which is written there, is one neighbour, whoever is behind it. */
	if (p->family == 4 ? fib.ipv4_dst != p->dst.words[3] :
			     fib.ipv6_dst[0] != p->dst.words[0] || fib.ipv6_dst[1] != p->dst.words[1] ||
				     fib.ipv6_dst[2] != p->dst.words[2] || fib.ipv6_dst[3] != p->dst.words[3])
		return 0;
	budget = bpf_map_lookup_elem(&neighbour_budgets, &link);
	if (!budget) {
		bpf_map_update_elem(&neighbour_budgets, &link, &fresh, BPF_NOEXIST);
		return 0;
	}
	if (budget->until < now)
		budget->until = now;
	if (budget->until - now > NEIGHBOURS_WINDOW) {
		budget->crowded++;
		return 1;
	}
	budget->created++;
	budget->until += NEIGHBOURS_WINDOW / NEIGHBOURS_MAX;
	return 0;
}

/* Makes the entry of a new connection in `flow_scratch` and the cache. 0: the packet is denied, and told. */
static __noinline struct flow *begin_flow(struct __sk_buff *skb, const struct packet *p, const struct passage *at)
{
	__u32 zero = 0, reply = is_answer(p), way = at->way & 1, cut;
	struct flow *flow = bpf_map_lookup_elem(&flow_scratch, &zero);
	struct judgement j = {};
	int place;

	if (!flow)
		return 0;
	cut = is_midstream(p) ? use_cut(p, CUT_ASK, 0) : 0;
	if (cut)
		reply = (way ^ (cut - 1)) & 1;
	judge_like(p, reply, at->generation, &j);
	if (j.judged && is_midstream(p) && !cut) {
		struct judgement back = {};

		if (!judge_like(p, 1, at->generation, &back)) {
			reply = 1;
			j = back;
		}
	}
	if (j.judged) {
		if (j.judged == JUDGED_DENY_INGRESS && j.egress.rule && !reply)
			tell(p, &j.egress, EVENT_EGRESS, 0);
		tell_denied(skb, p, &j, reply);
		return 0;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->first = flow->last = at->now;
	flow->initiator = way ^ reply;
	flow->idle = IDLE_ONE_WAY;
	place = set_ways(flow, p, way, at->link, &at->places);
	if (place == PLACE_NOBODY) {
		drop(skb, DROP_NO_ROUTE);
		return 0;
	}
	if (place == PLACE_ELSEWHERE && at->origin == ORIGIN_POD && asks_too_much(skb, p, at->link)) {
		drop(skb, DROP_NEIGHBOUR);
		return 0;
	}
	set_decision(flow, &j, at->generation);
	/* Known before the entry is: the next packet may be on its way, by the short one. */
	if (at->translated || (!at->untranslated && answers_translated(p)))
		flow->flags |= FLOW_TRANSLATED;
	if (reply || is_midstream(p)) {
		if (cut)
			use_cut(p, CUT_FORGET, 0);
		note_answer(flow, p->protocol);
		count_flow(COUNT_MIDSTREAM);
	} else {
		tell_allowed(p, &j);
	}
	flow->way[way].packets = packets_of(skb);
	flow->way[way].bytes = bytes_of(skb);
	count_rule(j.egress.slot, packets_of(skb), bytes_of(skb));
	count_rule(j.ingress.slot, packets_of(skb), bytes_of(skb));
	if (p->tcp_flags & TCP_RST)
		flow->idle = IDLE_CLOSED;
	keep_flow(p, at->now);
	return flow;
}

/* The entry of a known connection after a change: judged in the connection's direction. Not 0: it is denied. */
static __noinline int judge_again(const struct packet *p, struct flow *flow, const struct passage *at)
{
	__u32 was_denied = flow->flags & FLOW_DENIED;
	struct judgement j = {};

	count_flow(COUNT_JUDGED_AGAIN);
	judge_like(p, (at->way ^ flow->initiator) & 1, at->generation, &j);
	set_ways(flow, p, at->way, at->link, &at->places);
	set_decision(flow, &j, at->generation);
	if (j.judged || was_denied)
		use_cut(p, j.judged ? CUT_NOTE : CUT_FORGET, flow->initiator & 1);
	return j.judged;
}

/* The flow of a packet that may pass, counted; 0: dropped. */
static __noinline struct flow *settle(struct __sk_buff *skb, const struct packet *p, struct passage *at)
{
	struct flow *flow = find_flow(p, &at->way);
	__u32 way = at->way & 1, denied;

	if (!flow || is_idle(flow, at->now) || begins_again(flow, way, p->tcp_flags))
		return begin_flow(skb, p, at);
	denied = flow->flags & FLOW_DENIED;
	/* What it says, whatever another CPU writes meanwhile. */
	if (flow->generation != at->generation || flow->way[way].link != at->link)
		denied = judge_again(p, flow, at);
	if (denied) {
		/* Else who goes on would be new to us in a while, from whichever end. */
		flow->last = at->now;
		tell_cut(skb, p, flow, way != flow->initiator);
		return 0;
	}
	if (at->translated && !(flow->flags & FLOW_TRANSLATED))
		__sync_fetch_and_or(&flow->flags, FLOW_TRANSLATED);
	note_packet(flow, way, p->protocol, p->tcp_flags, at->now);
	count_packet(flow, way, packets_of(skb), bytes_of(skb));
	return flow;
}

/* By where its destination is, whatever was decided. */
__noinline int forward_to(struct __sk_buff *skb, const struct packet *p)
{
	struct flow_way way = {};
	struct place place = {};

	if (!p)
		return TC_ACT_SHOT;
	if (locate(&p->dst, &place) == PLACE_NOBODY)
		return drop(skb, DROP_NO_ROUTE);
	set_way(&way, &place);
	return forward_packet(skb, &way);
}

/* An ICMP error passes if it is about a packet of a connection that may pass, and is for who sent that. */
static __noinline int may_pass_error(struct __sk_buff *skb, struct packet *p, struct passage *at)
{
	struct carry_memory *memory = carry_memory();
	struct packet *inner;
	struct flow *flow;
	__u32 way;

	if (!memory)
		return 0;
	inner = &memory->inner;
	if (parse_inner(skb, p, inner) != PARSE_OK || !same_address(&inner->src, &p->dst))
		return 0;
	/* Pods are no routers: they complain of what was sent to them. */
	if (at->origin == ORIGIN_POD && !same_address(&inner->dst, &p->src))
		return 0;
	flow = find_flow(inner, &way);
	if (!flow || is_idle(flow, at->now))
		return 0;
	at->translated = flow->flags & FLOW_TRANSLATED;
	if (flow->generation == at->generation)
		return !(flow->flags & FLOW_DENIED);
	struct judgement j = {};

	return !judge_like(inner, (way ^ flow->initiator) & 1, at->generation, &j);
}

static __always_inline int carry_error(struct __sk_buff *skb, struct packet *p, struct passage *at)
{
	if (!may_pass_error(skb, p, at))
		return drop(skb, DROP_POLICY);
	if (translate_icmp_inner(skb, p) == TR_DROP)
		return drop(skb, DROP_FAULT);
	return at->origin == ORIGIN_NODE ? TC_ACT_OK : forward_to(skb, p);
}

/* Asked before all else of what may begin a connection: most of them are between pods of one node. */
static __always_inline int is_to_pod(const struct packet *p, struct place *to)
{
	struct pod *pod;

	if (p->protocol == IPPROTO_TCP && !is_syn(p->tcp_flags))
		return 0;
	pod = find_pod(&p->dst);
	return pod && place_pod(to, pod) == PLACE_POD;
}

/*
 * Decides about a packet and sends it on. `p` is parsed, its sender believed; `link` is where it came in, and belongs
 * to the pod `sender` if that is one. With ORIGIN_NODE the stack has routed it already: it is only judged.
 * Who looked for the sender has noted the generation before.
 */
static __always_inline int carry_from(struct __sk_buff *skb, struct packet *p, __u32 origin, __u32 link,
				      const struct pod *sender)
{
	struct carry_memory *memory = carry_memory();
	struct passage *at;
	struct flow *flow;
	__u32 mode = handover_mode(), to_pod;

	if (!memory)
		return TC_ACT_SHOT;
	at = &memory->passage;
	__builtin_memset(&at->origin, 0, sizeof(*at) - offsetof(struct passage, origin));
	at->origin = origin;
	at->link = link;
	at->now = bpf_ktime_get_coarse_ns();
	if (!sender)
		at->generation = current_generation();
	count_flow(COUNT_SLOW);
	if ((p->flags & PACKET_FRAGMENT) && fragment_ports_of(p))
		return drop(skb, DROP_FRAGMENT);
	if (mode && (p->flags & PACKET_ICMP_ERROR)) {
		if (mode != HANDOVER_HOLD)
			return TC_ACT_OK;
	} else if (mode && origin != ORIGIN_NODE && is_anothers(p, mode)) {
		return mode == HANDOVER_HOLD ? drop(skb, DROP_HANDOVER) : TC_ACT_OK;
	}
	if (p->flags & PACKET_ICMP_ERROR) {
		if (own_address_kind(&p->dst) && translate_icmp_inner(skb, p) == TR_NONE)
			return TC_ACT_OK;
		return carry_error(skb, p, at);
	}
	if (origin == ORIGIN_NODE && skb->mark == MARK_TRANSLATED)
		at->translated = 1;
	to_pod = is_to_pod(p, &at->places.to);
	if (sender)
		place_pod(&at->places.from, sender);
	if (origin != ORIGIN_NODE) {
		switch (translate_request(skb, p, origin, to_pod)) {
		case TR_NEW:
			at->untranslated = 1;
			break;
		case TR_DROP:
			return drop(skb, DROP_NO_BACKEND);
		case TR_REFUSE:
			return refuse_here(skb, p);
		case TR_DONE:
			/* Only a pod that is its own backend gets this node's address as its source. */
			if (origin == ORIGIN_POD && own_address_kind(&p->src))
				return forward_to(skb, p);
			at->translated = 1;
			at->places.from.kind = at->places.to.kind = PLACE_ELSEWHERE;
			to_pod = 0;
		}
	}
	/* A node and its own pods: nothing is looked up. */
	if (!to_pod && own_address_kind(&p->dst)) {
		if (translate_reply(skb, p) != TR_DONE)
			return TC_ACT_OK;
		/* From a node port of this node to itself. */
		return own_address_kind(&p->src) && own_address_kind(&p->dst) ? into_loopback(skb) : forward_to(skb, p);
	}
	flow = settle(skb, p, at);
	if (!flow)
		return TC_ACT_SHOT;
	if (!at->translated && !at->untranslated && (flow->flags & FLOW_TRANSLATED)) {
		int result = translate_reply(skb, p);

		if (result == TR_DROP)
			return drop(skb, DROP_FAULT);
		/* It is at its pod's link already: what answers from outside of the cluster comes by the stack. */
		if (result == TR_DONE)
			return origin == ORIGIN_NODE ? TC_ACT_OK : forward_to(skb, p);
	}
	if (origin == ORIGIN_NODE)
		return TC_ACT_OK;
	return forward_packet(skb, &flow->way[at->way & 1]);
}

static __always_inline int carry_here(struct __sk_buff *skb, struct packet *p, __u32 origin, __u32 link)
{
	return carry_from(skb, p, origin, link, 0);
}

/* The same as a call: at most 8 frames may be on the stack at once. */
static __noinline int carry(struct __sk_buff *skb, struct packet *p, __u32 origin, __u32 link)
{
	return carry_here(skb, p, origin, link);
}

#endif
