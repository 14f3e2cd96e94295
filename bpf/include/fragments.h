/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Ports of first fragments, for those that follow. A sender has as many datagrams in pieces as it has slots; more
 * take each other's, nobody else's.
 */
#ifndef HEDDLE_FRAGMENTS_H
#define HEDDLE_FRAGMENTS_H

#include "packet.h"

#define FRAGMENT_SLOTS 64

struct fragment_key {
	__u8 src[16] __attribute__((aligned(8)));
	__u32 slot;
	__u32 protocol;
};

struct fragment_ports {
	__u8 dst[16] __attribute__((aligned(8)));
	__u32 id;
	__be16 sport;
	__be16 dport;
};

/* Notes the ports of a first fragment, gives them to a later one. Negative: the first was not seen. */
static __always_inline int exchange_ports(void *map, struct packet *p)
{
	/* Some count identifiers in network order, some draw them. */
	__u32 id = p->fragment_id ^ p->fragment_id >> 8 ^ p->fragment_id >> 24;
	struct fragment_key key = { .slot = id % FRAGMENT_SLOTS, .protocol = p->protocol };
	struct fragment_ports *known;

	__builtin_memcpy(key.src, &p->src, 16);
	if (!(p->flags & PACKET_LATER)) {
		struct fragment_ports ports = { .id = p->fragment_id, .sport = p->sport, .dport = p->dport };

		__builtin_memcpy(ports.dst, &p->dst, 16);
		return bpf_map_update_elem(map, &key, &ports, BPF_ANY);
	}
	known = bpf_map_lookup_elem(map, &key);
	if (!known || known->id != p->fragment_id || !same_address((struct address *)known->dst, &p->dst))
		return -1;
	p->sport = known->sport;
	p->dport = known->dport;
	return 0;
}

#endif
