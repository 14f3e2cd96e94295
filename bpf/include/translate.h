/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Service translation of packets that no cgroup hook has translated. See src/datapath/ebpf/edge/README.md. */
#ifndef HEDDLE_TRANSLATE_H
#define HEDDLE_TRANSLATE_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "packet.h"

/*
 * TR_NONE: nothing of a service, the packet is as it was. TR_DONE: packet and *p are rewritten, every pointer
 * into the packet is stale. TR_DROP: drop in silence. TR_REFUSE: answer with refuse().
 */
enum translation { TR_NONE, TR_DONE, TR_DROP, TR_REFUSE };

enum origin { ORIGIN_POD, ORIGIN_UPLINK, ORIGIN_OVERLAY, ORIGIN_NODE };

/* A packet whose destination may be a frontend: picks a backend, rewrites, records the connection. */
static __always_inline int translate_request(struct __sk_buff *skb, struct packet *p, __u32 origin)
{
	return TR_NONE;
}

/* A packet that may answer a translated connection. */
static __always_inline int translate_reply(struct __sk_buff *skb, struct packet *p)
{
	return TR_NONE;
}

/* An ICMP error about a translated connection: outer and quoted headers. */
static __always_inline int translate_icmp_inner(struct __sk_buff *skb, struct packet *p)
{
	return TR_NONE;
}

/* Answers the sender with a TCP reset or ICMP port unreachable. Returns the tc verdict. */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *p)
{
	return 2; /* TC_ACT_SHOT */
}

#endif
