/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* While a node goes over to these programs, or from them: each connection is theirs or the other's, never both's. */
#ifndef HEDDLE_HANDOVER_H
#define HEDDLE_HANDOVER_H

#include "flow.h"
#include "nat.h"

enum handover_mode {
	HANDOVER_NONE = 0,
	/* Another data path is in force, behind these programs: what they do not know is left to the stack. */
	HANDOVER_UNKNOWN = 1,
	/* The same, and streams that begin are theirs. */
	HANDOVER_BEGUN = 2,
	/* Other programs of this kind are in force at some links, with tables of their own: what they know is soon known. */
	HANDOVER_HOLD = 3,
};

struct handover {
	__u32 mode;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct handover);
} handover SEC(".maps");

static __always_inline __u32 handover_mode(void)
{
	__u32 zero = 0;
	struct handover *value = bpf_map_lookup_elem(&handover, &zero);

	return value ? *(volatile __u32 *)&value->mode : 0;
}

static __always_inline int is_begin(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && is_syn(p->tcp_flags);
}

/* Verified once for all that call it. */
__noinline int is_translated_here(const struct packet *p)
{
	struct nat_value *value;
	struct nat_key key;

	if (!p)
		return 0;
	make_nat_key(&key, p, 0);
	value = bpf_map_lookup_elem(nat_map(p->family), &key);
	if (!value) {
		key.leaving = 1;
		value = bpf_map_lookup_elem(nat_map(p->family), &key);
	}
	return value && !(is_over(value) && is_begin(p));
}

/* The flow of a translated connection may be known before how it is translated is. */
__noinline int is_known_here(const struct packet *p)
{
	struct flow *flow;
	__u32 way;

	if (!p)
		return 0;
	if (is_translated_here(p))
		return 1;
	flow = find_flow(p, &way);
	return flow && !(flow->flags & FLOW_TRANSLATED);
}

/* Whether a packet is not these programs' to decide about; with HANDOVER_HOLD it is dropped, and comes again. */
static __always_inline int is_anothers(const struct packet *p, __u32 mode)
{
	if (mode == HANDOVER_NONE || (mode != HANDOVER_UNKNOWN && is_begin(p)))
		return 0;
	if (mode == HANDOVER_HOLD && p->protocol != IPPROTO_TCP)
		return 0;
	return !is_known_here(p);
}

#endif
