/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What rules decided, told to the agent: first packets of allowed connections, and denied packets. */
#ifndef HEDDLE_EVENTS_H
#define HEDDLE_EVENTS_H

#include "counts.h"
#include "packet.h"
#include "policy-maps.h"

enum event_direction {
	EVENT_INGRESS = 0,
	EVENT_EGRESS = 1,
};

/* Addresses and ports (network order) in the direction of the connection. */
struct policy_event {
	/* Monotonic clock, ns. */
	__u64 time;
	__u32 rule;
	__u8 verdict;
	__u8 direction;
	/* 1: the packet went from `dst` to `src`. */
	__u8 reply;
	__u8 family;
	__u8 src[16] __attribute__((aligned(4)));
	__u8 dst[16] __attribute__((aligned(4)));
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 zero[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} policy_events SEC(".maps");

/* Ring buffers name no type: this makes it part of the object's. */
const struct policy_event *policy_event_type __attribute__((unused));

/* By a rule's slot: the monotonic time until which its events are used up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} event_limits SEC(".maps");

enum event_count {
	EVENTS_TOLD = 0,
	/* The agent did not keep up. */
	EVENTS_LOST = 1,
	/* Above the rate of their rule. */
	EVENTS_LIMITED = 2,
	EVENT_COUNTS = 4,
};

COUNTS(event_counts, EVENT_COUNTS, count_event)

#define MILLISECONDS 1000000ULL
/* 1,000 a second, as many at once. */
#define ALLOW_INTERVAL (1 * MILLISECONDS)
#define ALLOW_BURST (1000 * MILLISECONDS)
/* 100 a second, 500 at once. */
#define DENY_INTERVAL (10 * MILLISECONDS)
#define DENY_BURST (5000 * MILLISECONDS)

/* Two CPUs at once may let one too many through. */
static __always_inline int may_tell(__u32 slot, int denied, __u64 now)
{
	__u64 *used = bpf_map_lookup_elem(&event_limits, &slot);
	__u64 until;

	if (!used)
		return 0;
	until = *used > now ? *used : now;
	if (until - now > (denied ? DENY_BURST : ALLOW_BURST))
		return 0;
	*used = until + (denied ? DENY_INTERVAL : ALLOW_INTERVAL);
	return 1;
}

struct decision {
	__u32 rule;
	__u32 slot;
	__u32 verdict;
};

__noinline int tell(const struct packet *p, const struct decision *by, __u32 direction, __u32 reply)
{
	struct policy_event *event;

	if (!p || !by)
		return 0;
	if (!may_tell(by->slot, by->verdict == VERDICT_DENY, bpf_ktime_get_coarse_ns())) {
		count_event(EVENTS_LIMITED);
		return 0;
	}
	event = bpf_ringbuf_reserve(&policy_events, sizeof(*event), 0);
	if (!event) {
		count_event(EVENTS_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->rule = by->rule;
	event->verdict = by->verdict;
	event->direction = direction;
	event->reply = reply;
	event->family = p->family;
	event->protocol = p->protocol;
	__builtin_memcpy(event->src, reply ? &p->dst : &p->src, sizeof(event->src));
	__builtin_memcpy(event->dst, reply ? &p->src : &p->dst, sizeof(event->dst));
	if (!is_icmp(p)) {
		event->sport = reply ? p->dport : p->sport;
		event->dport = reply ? p->sport : p->dport;
	}
	bpf_ringbuf_submit(event, 0);
	count_event(EVENTS_TOLD);
	return 1;
}

#endif
