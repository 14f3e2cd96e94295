// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc egress at the tunnel's device. A link that the plan does not know reaches no other node; everything else that gets
 * here was let through where it came in.
 */
#include "drop.h"
#include "pod-maps.h"

char _license[] SEC("license") = "GPL";

SEC("tc")
int to_overlay(struct __sk_buff *skb)
{
	__u32 from = skb->ingress_ifindex;

	if (!from || link_kind(from))
		return TC_ACT_OK;
	count_drop(DROP_UNKNOWN_LINK, skb->len);
	return TC_ACT_SHOT;
}
