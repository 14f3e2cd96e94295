/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Look-up and making of flow entries, and what a packet does to its own. */
#ifndef HEDDLE_FLOW_H
#define HEDDLE_FLOW_H

#include "flow-maps.h"
#include "forward.h"
#include "policy.h"

/* Seconds without a packet. */
#define IDLE_ONE_WAY 60
#define IDLE_STREAM 86400
#define IDLE_CLOSED 10
#define IDLE_DATAGRAMS 180
#define IDLE_ECHO 30

enum cut_use { CUT_ASK, CUT_NOTE, CUT_FORGET };

/* Not 0: the packet's stream was cut, and `initiator` of its entry was one less. */
__noinline __u32 use_cut(const struct packet *p, __u32 use, __u32 initiator)
{
	struct flow_key6 key;
	__u32 value = initiator + 1, *known;

	if (!p || p->protocol != IPPROTO_TCP)
		return 0;
	make_key6(&key, &p->src, &p->dst, p->sport, p->dport, p->protocol);
	if (use == CUT_NOTE) {
		bpf_map_update_elem(&cut_flows, &key, &value, BPF_ANY);
		return 0;
	}
	if (use == CUT_FORGET) {
		bpf_map_delete_elem(&cut_flows, &key);
		return 0;
	}
	known = bpf_map_lookup_elem(&cut_flows, &key);
	return known ? *known : 0;
}

/* 1: the entry may go where all are; 0: its pod has had its share. */
static __always_inline int charge(__u32 link, __u64 now, __u64 interval)
{
	struct flow_budget fresh = { .until = now + interval, .created = 1 };
	struct flow_budget *budget = bpf_map_lookup_elem(&flow_budgets, &link);

	if (!budget) {
		bpf_map_update_elem(&flow_budgets, &link, &fresh, BPF_NOEXIST);
		return 1;
	}
	budget->created++;
	if (budget->until < now)
		budget->until = now;
	if (budget->until - now > BUDGET_WINDOW) {
		budget->crowded++;
		return 0;
	}
	budget->until += interval;
	return 1;
}

static __always_inline void discharge(struct flow *flow)
{
	struct node_state *node = get_node_state();
	__u32 link = flow->charged;
	struct flow_budget *budget;

	if (!(flow->flags & FLOW_CHARGED))
		return;
	__sync_fetch_and_and(&flow->flags, ~FLOW_CHARGED);
	budget = bpf_map_lookup_elem(&flow_budgets, &link);
	if (budget && node)
		budget->until -= node->budget_interval;
}

/* A stream that has ended, or is about to. */
__noinline int note_end(struct flow *flow, __u32 way, __u32 tcp_flags)
{
	__u32 both = FLOW_FIN_LOW | FLOW_FIN_HIGH;

	if (!flow)
		return 0;
	__sync_fetch_and_or(&flow->flags, tcp_flags & TCP_RST ? FLOW_RESET : way ? FLOW_FIN_HIGH : FLOW_FIN_LOW);
	if ((flow->flags & FLOW_RESET) || (flow->flags & both) == both) {
		flow->idle = IDLE_CLOSED;
		discharge(flow);
	}
	return 0;
}

static __always_inline void note_answer(struct flow *flow, __u32 protocol)
{
	/* Another CPU may be noting that the flow is denied. */
	__sync_fetch_and_or(&flow->flags, FLOW_ANSWERED);
	flow->idle = protocol == IPPROTO_TCP  ? IDLE_STREAM :
		     protocol == IPPROTO_UDP  ? IDLE_DATAGRAMS :
		     protocol == IPPROTO_SCTP ? IDLE_STREAM :
						IDLE_ECHO;
}

/* A packet that asks for a connection where the entry is of another one. */
static __always_inline int begins_again(const struct flow *flow, __u32 way, __u32 tcp_flags)
{
	if (!is_syn(tcp_flags))
		return 0;
	return way != flow->initiator || (flow->flags & FLOW_ANSWERED);
}

static __always_inline void count_packet(struct flow *flow, __u32 way, __u32 packets, __u32 bytes)
{
	__sync_fetch_and_add(&flow->way[way].packets, packets);
	__sync_fetch_and_add(&flow->way[way].bytes, bytes);
	count_rule(flow->egress_slot, packets, bytes);
	count_rule(flow->ingress_slot, packets, bytes);
}

static __always_inline __u32 packets_of(struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

static __always_inline __u32 bytes_of(struct __sk_buff *skb)
{
	return skb->len - ETHERNET_LENGTH;
}

/* What the entry's packet changes about it. */
static __always_inline void note_packet(struct flow *flow, __u32 way, __u32 protocol, __u32 tcp_flags, __u64 now)
{
	flow->last = now;
	if (way != flow->initiator && !(flow->flags & FLOW_ANSWERED))
		note_answer(flow, protocol);
	if (tcp_flags & (TCP_FIN | TCP_RST))
		note_end(flow, way, tcp_flags);
}

#define DECIDED_FLAGS (FLOW_DENIED | FLOW_DENIED_EGRESS | FLOW_AUDIT_DENIED)

/* What was decided, into an entry; its generation last, because others may be reading. */
static __always_inline void set_decision(struct flow *flow, const struct judgement *j, __u32 generation)
{
	__u32 flags = 0;

	if (j->judged)
		flags |= FLOW_DENIED;
	if (j->judged == JUDGED_DENY_EGRESS)
		flags |= FLOW_DENIED_EGRESS;
	if (j->audit_denied)
		flags |= FLOW_AUDIT_DENIED;
	__sync_fetch_and_and(&flow->flags, ~DECIDED_FLAGS | flags);
	__sync_fetch_and_or(&flow->flags, flags);
	flow->egress_rule = j->egress.rule;
	flow->egress_slot = j->egress.slot;
	flow->ingress_rule = j->ingress.rule;
	flow->ingress_slot = j->ingress.slot;
	__sync_lock_test_and_set(&flow->generation, generation);
}

/*
 * Both ways between the ends of the packet. `link`: where it came in, for ends that the maps do not place. `known`:
 * what was asked already.
 */
__noinline int set_ways(struct flow *flow, const struct packet *p, __u32 way, __u32 link, const struct places *known)
{
	struct place src, dst;

	if (!flow || !p || !known)
		return PLACE_NOBODY;
	src = known->from;
	dst = known->to;
	if (src.kind != PLACE_POD)
		locate(&p->src, &src);
	if (dst.kind != PLACE_POD)
		locate(&p->dst, &dst);
	way &= 1;
	set_way(&flow->way[way], &dst);
	flow->way[way].link = src.kind == PLACE_POD ? src.link : link;
	set_way(&flow->way[way ^ 1], &src);
	flow->way[way ^ 1].link = dst.link;
	flow->charged = src.kind == PLACE_POD ? src.link : dst.kind == PLACE_POD ? dst.link : 0;
	return dst.kind;
}

/*
 * In the place of an older connection between the same ends, where there is one: that costs a copy, not a new entry.
 * Who reads meanwhile finds an entry of another generation.
 */
static __always_inline long put_flow(void *map, const void *key, const struct flow *flow)
{
	struct flow *old = bpf_map_lookup_elem(map, key);

	if (!old)
		return bpf_map_update_elem(map, key, flow, BPF_ANY);
	__sync_lock_test_and_set(&old->generation, flow->generation - 2);
	__builtin_memcpy(old, flow, offsetof(struct flow, generation));
	__builtin_memcpy(&old->idle, &flow->idle, sizeof(*flow) - offsetof(struct flow, idle));
	__sync_lock_test_and_set(&old->generation, flow->generation);
	return 0;
}

/* Puts the entry in `flow_scratch` into the cache. */
__noinline int keep_flow(const struct packet *p, __u64 now)
{
	struct node_state *node = get_node_state();
	__u32 crowded = 0, zero = 0;
	/* An argument is no value for Linux 6.1. */
	struct flow *flow = bpf_map_lookup_elem(&flow_scratch, &zero);
	long failed;

	if (!p || !flow)
		return -1;
	if (node && node->budget_interval && flow->charged) {
		crowded = !charge(flow->charged, now, node->budget_interval);
		if (!crowded)
			flow->flags |= FLOW_CHARGED;
	}
	if (p->family == 4) {
		struct flow_key4 key;

		make_key4(&key, p->src.words[3], p->dst.words[3], p->sport, p->dport, p->protocol);
		/* What is left of an older connection would be found first. */
		if (crowded)
			bpf_map_delete_elem(&flows4, &key);
		failed = crowded ? bpf_map_update_elem(&crowd4, &key, flow, BPF_ANY) : put_flow(&flows4, &key, flow);
		count_flow(crowded ? COUNT_CROWDED4 : COUNT_CREATED4);
	} else {
		struct flow_key6 key;

		make_key6(&key, &p->src, &p->dst, p->sport, p->dport, p->protocol);
		if (crowded)
			bpf_map_delete_elem(&flows6, &key);
		failed = crowded ? bpf_map_update_elem(&crowd6, &key, flow, BPF_ANY) : put_flow(&flows6, &key, flow);
		count_flow(crowded ? COUNT_CROWDED6 : COUNT_CREATED6);
	}
	if (failed)
		count_flow(COUNT_FAILED);
	return failed;
}

#endif
