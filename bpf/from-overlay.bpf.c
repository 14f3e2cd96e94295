// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* tc ingress at a tunnel whose packets are frames, VXLAN or GENEVE: what other nodes send to pods of this one. */
#include "arrive.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

static __noinline int from_overlay_slow(struct __sk_buff *skb)
{
	return arrive(skb, 1);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	int verdict = carry_quick(skb, skb->ifindex, QUICK_CARRY);

	return verdict == QUICK_NO ? from_overlay_slow(skb) : verdict;
}
