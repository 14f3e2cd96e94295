/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What would become of a packet, for `heddle datapath trace`: asked by a test run of the loaded program, answered in
 * the packet. Nothing is counted, told or remembered, and nothing is let through: the verdict is always a drop.
 *
 * `skb->priority` says which of those who take turns is meant, from the next one on.
 *
 * Who asks shows a number that is drawn for one run and is in `dry_calls` during it. Bytes of `cb` come with packets
 * of the wire too, left there by who had them before; no pod can read the number, and one that had it would lose its
 * packet.
 */
#ifndef HEDDLE_DRY_H
#define HEDDLE_DRY_H

#include "drop.h"
#include "packet.h"

/* In `cb[4]`. What others leave there is hardly ever it; what is, meets the number. */
#define DRY_CALL 0x68656476
/* In the answer: a packet that no program wrote to is none. */
#define DRY_ANSWER 0x68656477

struct dry_call {
	/* `cb[0]` to `cb[3]` of the run; zeroes: there is none. */
	__u32 number[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dry_call);
} dry_calls SEC(".maps");

/* What a program says of a packet before it is carried: 0: go on, a drop_reason, or one of these. */
#define ADMIT_STACK (-1)
/* To the pod at whose link it is. */
#define ADMIT_HERE (-2)

enum dry_end {
	DRY_DROPPED = 1,
	/* Answered with a reset or port unreachable. */
	DRY_REFUSED = 2,
	/* Handed to the node's own stack: the node itself, or where its routes lead. */
	DRY_STACK = 3,
	/* To the pod at `link`. */
	DRY_POD = 4,
	/* By the tunnel, to the node whose end has `mac`. */
	DRY_OVERLAY = 5,
};

enum dry_flags {
	/* A connection of these ends is known; it decided. */
	DRY_KNOWN = 1,
	/* It is translated already, and stays so. */
	DRY_KNOWN_TRANSLATION = 2,
	DRY_TRANSLATED = 4,
	DRY_DENIED_EGRESS = 8,
	DRY_DENIED_INGRESS = 16,
	/* Of DRY_KNOWN: the packet goes to who began it. */
	DRY_ANSWERS = 32,
};

struct dry_answer {
	__u32 magic;
	/* enum dry_end */
	__u32 end;
	/* enum drop_reason, of DRY_DROPPED */
	__u32 reason;
	/* enum dry_flags */
	__u32 flags;
	/* Interface that it would leave by; 0: as routes say. */
	__u32 link;
	/* Of the sender's pod and of the receiver's; 0: nothing decided there. */
	__u32 egress_rule;
	__u32 ingress_rule;
	/* In `backends`; 0: none was chosen. */
	__u32 backend;
	/* As it would go on. Network order. */
	__u8 src[16] __attribute__((aligned(4)));
	__u8 dst[16] __attribute__((aligned(4)));
	__be16 sport;
	__be16 dport;
	__u8 mac[6];
	__u16 zero;
};

/* What is put together for one answer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dry_answer);
} dry_scratch SEC(".maps");

__noinline int is_dry_call(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct dry_call *call = bpf_map_lookup_elem(&dry_calls, &zero);

	return call && (call->number[0] | call->number[1] | call->number[2] | call->number[3]) &&
	       call->number[0] == skb->cb[0] && call->number[1] == skb->cb[1] && call->number[2] == skb->cb[2] &&
	       call->number[3] == skb->cb[3];
}

/* One load for packets that are none. */
static __always_inline int is_dry(struct __sk_buff *skb)
{
	return __builtin_expect(skb->cb[4] == DRY_CALL, 0) && is_dry_call(skb);
}

static __always_inline struct dry_answer *dry_answer(void)
{
	__u32 zero = 0;
	struct dry_answer *answer = bpf_map_lookup_elem(&dry_scratch, &zero);

	if (answer)
		__builtin_memset(answer, 0, sizeof(*answer));
	return answer;
}

/* Writes the answer over the packet. */
static __always_inline int dry_tell(struct __sk_buff *skb, const struct packet *p, struct dry_answer *answer)
{
	answer->magic = DRY_ANSWER;
	__builtin_memcpy(answer->src, &p->src, 16);
	__builtin_memcpy(answer->dst, &p->dst, 16);
	answer->sport = p->sport;
	answer->dport = p->dport;
	bpf_skb_store_bytes(skb, 0, answer, sizeof(*answer), 0);
	return TC_ACT_SHOT;
}

static __always_inline void dry_drop(struct dry_answer *answer, __u32 reason)
{
	answer->end = DRY_DROPPED;
	answer->reason = reason;
}

#endif
