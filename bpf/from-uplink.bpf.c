// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * tc ingress at the uplink: clients outside reach services, answers of the outside reach pods. What is for the node
 * itself and nobody's service passes untouched. Where nodes have no tunnel, pods of other nodes come by here.
 */
#include "arrive.h"
#include "uplink.h"

char _license[] SEC("license") = "GPL";

/* linux/if_packet.h: to another machine's address on the link. */
#define PACKET_OTHERHOST 3

/*
 * Nobody outside is a pod or a node. Of other nodes that speak without the tunnel (a pod to this node's address,
 * answers to it) the link's address must be the one that the owner has, as far as the underlay shows it.
 */
static __noinline int is_forged(struct __sk_buff *skb, const struct packet *p, const struct net_value *net)
{
	struct bpf_fib_lookup fib;
	struct packet owner = {};
	__u8 mac[6] __attribute__((aligned(2)));

	if (net->flags & (NET_OWN_POD | NET_OWN_NODE | NET_SERVICE))
		return 1;
	if (!(net->flags & (NET_POD | NET_OTHER_NODE)))
		return 0;
	/* By what link it would come is not asked. */
	if (is_dry(skb))
		return 0;
	copy_address(&owner.dst, (const __u32 *)net->owner);
	owner.family = is_v4(&owner.dst) ? 4 : 6;
	if (!owner.dst.words[3])
		return 1;
	start_route(&fib, &owner, skb->ifindex);
	/* Unknown neighbours are not believed: the agent has the kernel know other nodes (datapath/neighbours.ts). */
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS || bpf_skb_load_bytes(skb, 6, mac, 6))
		return 1;
	return fib.ifindex != skb->ifindex || *(__u16 *)mac != *(__u16 *)fib.dmac ||
	       *(__u16 *)(mac + 2) != *(__u16 *)(fib.dmac + 2) || *(__u16 *)(mac + 4) != *(__u16 *)(fib.dmac + 4);
}

static __always_inline int send_dsr(struct __sk_buff *skb, struct packet *p, const struct ends *original)
{
	__u32 number = dsr_number(&original->dst);
	struct mac mac = { { number >> 24 << 4 | DSR_TAG, number >> 16, number >> 8, number } };

	__builtin_memcpy(mac.bytes + 4, &original->dport, 2);
	return send_on(skb, p, original, &mac);
}

static __noinline int from_uplink_errors(struct __sk_buff *skb, struct packet *p)
{
	struct ends original;
	int result;

	ends_of(p, &original);
	result = nat_follow_error(skb, p, NAT_AT_UPLINK, NAT_AT_UPLINK);
	if (result < 0)
		return drop_at(skb, DROP_FAULT);
	return result ? send_on(skb, p, &original, 0) : TC_ACT_OK;
}

/* To addresses that the node answers beside its own: the tunnel's end listens at all of them. */
static __always_inline int is_forged_tunnel(const struct packet *p)
{
	struct edge_settings *settings = get_edge_settings();

	return settings && is_of_tunnel(p, settings->tunnel_port, settings->tunnel_port2, settings->hears) &&
	       !(net_flags_of(&p->dst) & NET_POD) && !(net_flags_of(&p->src) & NET_OTHER_NODE);
}

/* Of those that other programs of this kind know: an answer to a port of the NAT, or what is for a service. */
static __always_inline int is_translatable(const struct packet *p, const struct edge_settings *settings)
{
	__u32 port = bpf_ntohs(p->dport);

	return (settings && port >= settings->first_port && port - settings->first_port < settings->ports) ||
	       find_frontend(p->dst.words, p->protocol, p->dport);
}

static __noinline int from_uplink_service(struct __sk_buff *skb, struct packet *p)
{
	struct ends original;
	__u32 flags = 0, mode = handover_mode();
	int result;

	ends_of(p, &original);
	result = nat_follow(skb, p, NAT_AT_UPLINK, NAT_AT_UPLINK, &flags);
	if (result < 0)
		return drop_at(skb, DROP_FAULT);
	if (!result) {
		struct nat_plan *plan;

		if (is_anothers(p, mode)) {
			if (mode != HANDOVER_HOLD)
				return TC_ACT_OK;
			if (is_translatable(p, get_edge_settings()))
				return drop_at(skb, DROP_HANDOVER);
		}
		switch (translate_request(skb, p, ORIGIN_UPLINK, 0)) {
		case TR_NONE:
		case TR_NEW:
			return is_forged_tunnel(p) ? drop_at(skb, DROP_TUNNEL) : TC_ACT_OK;
		case TR_DROP:
			return drop_at(skb, DROP_NO_BACKEND);
		case TR_REFUSE:
			count_drop(DROP_REFUSED, skb->len - ETHERNET_LENGTH);
			return make_refusal(skb, p) ? TC_ACT_SHOT : bpf_redirect(skb->ifindex, 0);
		}
		plan = get_nat_plan();
		flags = plan ? plan->flags : 0;
	}
	if (flags & NAT_AT_POD)
		skb->mark = MARK_TRANSLATED;
	return flags & NAT_DSR ? send_dsr(skb, p, &original) : send_on(skb, p, &original, 0);
}

/* Of a pod of another node, by that node: as what comes out of a tunnel. */
#define ADMIT_ARRIVAL (-100)

static __noinline int from_uplink_arrival(struct __sk_buff *skb)
{
	return arrive(skb, 0);
}

/* What becomes of the packet before anybody asks for what it is: 0: that is asked now, ADMIT_STACK, or why not. */
static __always_inline int admit(struct __sk_buff *skb, const struct packet *p, const struct edge_settings *settings)
{
	struct net_value *src;
	__u32 to;

	if ((p->flags & PACKET_LINK_LOCAL) || is_link_local(&p->src) || is_link_local(&p->dst))
		return ADMIT_STACK;
	to = net_flags_of(&p->dst);
	src = find_net(&p->src);
	if ((to & NET_OWN_NODE) && !(p->flags & PACKET_LATER) &&
	    is_of_tunnel(p, settings->tunnel_port, settings->tunnel_port2, settings->hears))
		return src && (src->flags & NET_OTHER_NODE) ? ADMIT_STACK : DROP_TUNNEL;
	if (src && is_forged(skb, p, src))
		return DROP_SPOOFED;
	if (!src || !(src->flags & NET_POD) || !(to & NET_POD))
		return 0;
	/* Pods reach pods through the tunnel, where there is one. */
	return settings->hears & HEARS_NATIVE ? ADMIT_ARRIVAL : DROP_SPOOFED;
}

/* As from_uplink_service; where a translated packet goes on to is as the node's routes say. */
static __noinline int dry_uplink(struct __sk_buff *skb, struct packet *p, int admitted)
{
	struct dry_answer *answer = dry_answer();
	int result = TR_NONE;

	if (!answer)
		return TC_ACT_SHOT;
	if (admitted) {
		dry_drop(answer, admitted);
		return dry_tell(skb, p, answer);
	}
	answer->end = DRY_STACK;
	if (dry_follow(p, NAT_AT_UPLINK, NAT_AT_UPLINK)) {
		answer->flags |= DRY_KNOWN_TRANSLATION | DRY_TRANSLATED;
		return dry_tell(skb, p, answer);
	}
	result = dry_translate(p, answer, ORIGIN_UPLINK, skb->priority);
	if (!dry_stopped(answer, result)) {
		if (result == TR_DONE)
			answer->flags |= DRY_TRANSLATED;
		else if (is_forged_tunnel(p))
			dry_drop(answer, DROP_TUNNEL);
	}
	return dry_tell(skb, p, answer);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct edge_settings *settings = get_edge_settings();
	struct packet *p = uplink_packet();
	int admitted;

	/* A bridge that does not know (any more) where a node is shows its packets to all of them. */
	if (!settings || !p || skb->mark == MARK_ANSWER || skb->pkt_type == PACKET_OTHERHOST)
		return TC_ACT_OK;
	switch (parse_packet(skb, p)) {
	case PARSE_OK:
		break;
	case PARSE_OTHER:
		return TC_ACT_OK;
	default:
		return drop_at(skb, DROP_MALFORMED);
	}
	admitted = admit(skb, p, settings);
	/* Tunnels are most of what comes by here, and this is all that is asked of them. */
	if (admitted == ADMIT_STACK)
		return TC_ACT_OK;
	if (admitted == ADMIT_ARRIVAL)
		return from_uplink_arrival(skb);
	if (is_dry(skb))
		return dry_uplink(skb, p, admitted);
	if (admitted)
		return drop_at(skb, admitted);
	/* To the stack's own reassembly, or to nobody. */
	if ((p->flags & PACKET_FRAGMENT) && !know_ports(p))
		return net_flags_of(&p->dst) & NET_OWN_NODE ? TC_ACT_OK : drop_at(skb, DROP_FRAGMENT);
	if (p->flags & PACKET_ICMP_ERROR)
		return from_uplink_errors(skb, p);
	return from_uplink_service(skb, p);
}
