/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Questions to the kernel's routing table. */
#ifndef HEDDLE_ROUTE_H
#define HEDDLE_ROUTE_H

#include "packet.h"

static __always_inline void start_route(struct bpf_fib_lookup *fib, const struct packet *p, __u32 link)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = link;
	fib->l4_protocol = p->protocol;
	if (p->family == 4) {
		fib->family = 2; /* AF_INET */
		fib->ipv4_src = p->src.words[3];
		fib->ipv4_dst = p->dst.words[3];
	} else {
		fib->family = 10; /* AF_INET6 */
		__builtin_memcpy(fib->ipv6_src, &p->src, 16);
		__builtin_memcpy(fib->ipv6_dst, &p->dst, 16);
	}
}

#endif
