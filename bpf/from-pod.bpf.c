// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/* tc ingress at the host side of a pod's link: all that a pod sends. */
#include "dry-carry.h"
#include "quick.h"

char _license[] SEC("license") = "GPL";

/* RFC 826, of Ethernet and IPv4. */
struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 lengths[2];
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender[4];
	__u8 target_mac[6];
	__u8 target[4];
} __attribute__((packed));

/* The pod with this address, if it is the one behind this link; else 0. */
static __always_inline struct pod *pod_behind(const struct address *address, __u32 link)
{
	struct pod *pod = find_pod(address);

	return pod && pod->link == link ? pod : 0;
}

/* ARP ends at the host, which has its own answer; a pod speaks of its own addresses, or probes (RFC 5227). */
static __noinline int from_pod_other(struct __sk_buff *skb)
{
	void *data = as_pointer(skb->data), *end = as_pointer(skb->data_end);
	struct ethhdr *ethernet = data;
	struct arp *arp = data + ETHERNET_LENGTH;
	struct address sender;
	struct pod *pod;
	__be32 ip;

	if ((void *)(arp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_ARP))
		return drop(skb, DROP_MALFORMED);
	__builtin_memcpy(&ip, arp->sender, 4);
	set_v4(&sender, ip);
	pod = pod_behind(&sender, skb->ifindex);
	if (ip && !pod)
		return drop(skb, DROP_ARP_SPOOFED);
	if (pod && !comes_from(skb, pod->mac))
		return drop(skb, DROP_WRONG_MAC);
	/* What is said of the address is that it is where the frame comes from. */
	return same_mac(arp->sender_mac, ethernet->h_source) ? TC_ACT_OK : drop(skb, DROP_ARP_SPOOFED);
}

/* Between neighbours: the host answers for the gateway, and nothing goes further. */
static __always_inline int may_reach_host(const struct packet *p, int mine)
{
	int to_link = is_link_local(&p->dst) || (p->dst.bytes[0] == 0xff && p->dst.bytes[1] == 0x02);

	if (p->protocol != IPPROTO_ICMPV6 || !to_link)
		return 0;
	/* Neighbour solicitation and advertisement (RFC 4861); echo, for who pings the gateway. */
	if (p->icmp_type == 135 || p->icmp_type == 136)
		return mine || is_link_local(&p->src) || !(p->src.halves[0] | p->src.halves[1]);
	return (p->icmp_type == 128 || p->icmp_type == 129) && is_link_local(&p->src) && is_link_local(&p->dst);
}

static __always_inline int is_multicast(const struct address *address)
{
	return is_v4(address) ? address->bytes[12] >= 224 : address->bytes[0] == 0xff;
}

/* 1: the node would take it for another node's, at whichever of its addresses. */
__noinline int reaches_tunnel(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	struct node_state *node = get_node_state();
	struct address dst;

	if (!p || !is_tunnel_packet(p, node))
		return 0;
	dst = p->dst;
	if (node_address_kind(&dst) || own_address_kind(&dst))
		return 1;
	fib.l4_protocol = IPPROTO_UDP;
	if (is_v4(&dst)) {
		fib.family = 2; /* AF_INET */
		fib.ipv4_src = p->src.words[3];
		fib.ipv4_dst = dst.words[3];
	} else {
		fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(fib.ipv6_src, &p->src, 16);
		__builtin_memcpy(fib.ipv6_dst, &dst, 16);
	}
	return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* RFC 4861 section 4.4: whose address is advertised, which must be the pod's. That of a link ends at the link. */
static __always_inline int advertises_other(struct __sk_buff *skb, const struct packet *p)
{
	struct address target;

	if (p->icmp_type != 136)
		return 0;
	if (bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target)))
		return 1;
	return !is_link_local(&target) && !pod_behind(&target, skb->ifindex);
}

/* What the words of ICMP that never leave a link are refused as, 0 of any other. */
static __always_inline int link_word(const struct packet *p)
{
	if (p->protocol == IPPROTO_ICMPV6)
		return p->icmp_type == 134 ? DROP_ROUTER_ADVERTISEMENT : p->icmp_type == 137 ? DROP_REDIRECT : 0;
	if (p->protocol != IPPROTO_ICMP)
		return 0;
	return p->icmp_type == 9 ? DROP_ROUTER_ADVERTISEMENT : p->icmp_type == 5 ? DROP_REDIRECT : 0;
}

static __always_inline int is_discovery(const struct packet *p)
{
	return p->protocol == IPPROTO_ICMPV6 && (p->icmp_type == 135 || p->icmp_type == 136);
}

/*
 * Whether the pod may send this: 0, ADMIT_STACK, or why not. `sender`: 0 if the address is not its own. Who asks what
 * would be done asks of IP alone.
 */
static __always_inline int admit(struct __sk_buff *skb, const struct packet *p, const struct pod *sender)
{
	int mine = sender != 0, word = link_word(p);

	if (word && (p->flags & PACKET_LATER) == 0)
		return word;
	if (sender && !comes_from(skb, sender->mac) && !is_dry(skb))
		return DROP_WRONG_MAC;
	if (may_reach_host(p, mine))
		return is_discovery(p) && advertises_other(skb, p) ? DROP_NEIGHBOUR_SPOOFED : ADMIT_STACK;
	if (!mine)
		return is_discovery(p) ? DROP_NEIGHBOUR_SPOOFED : DROP_SPOOFED;
	if ((p->flags & PACKET_LINK_LOCAL) || is_multicast(&p->dst) || is_link_local(&p->dst))
		return DROP_NO_ROUTE;
	return reaches_tunnel(skb, p) ? DROP_TUNNEL : 0;
}

static __noinline int from_pod_slow(struct __sk_buff *skb)
{
	__u32 link = skb->ifindex;
	struct carry_memory *memory = carry_memory();
	struct packet *p;
	struct pod *sender = 0;
	int parsed, admitted;

	if (!memory)
		return TC_ACT_SHOT;
	p = &memory->packet;
	memory->passage.generation = current_generation();
	parsed = parse_packet(skb, p);
	if (parsed == PARSE_OK)
		sender = pod_behind(&p->src, link);
	if (!sender && link_kind(link) != LINK_POD)
		return turn_away(skb, DROP_UNKNOWN_LINK);
	if (parsed == PARSE_OTHER)
		return from_pod_other(skb);
	if (parsed != PARSE_OK)
		return turn_away(skb, parsed == PARSE_OVERSIZED ? DROP_OVERSIZED : DROP_MALFORMED);
	admitted = admit(skb, p, sender);
	if (is_dry(skb))
		return dry_carry(skb, ORIGIN_POD, link, admitted);
	if (admitted)
		return admitted == ADMIT_STACK ? TC_ACT_OK : drop(skb, admitted);
	return carry_from(skb, p, ORIGIN_POD, link, sender);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	int verdict = carry_quick(skb, skb->ifindex, QUICK_CARRY_POD);

	return verdict == QUICK_NO ? from_pod_slow(skb) : verdict;
}
