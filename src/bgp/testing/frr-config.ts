/**
 * What FRR is told in tests: one session for each family, that of IPv4 with a key, or both families over IPv4; it tells
 * 192.168.50.0/24 and fd00:50::/48.
 */

export const frrConfig = ({ as = 65002, peerAs = 65001, oneSession = false }) => `
frr defaults datacenter
ip route 192.168.50.0/24 blackhole
ipv6 route fd00:50::/48 blackhole
router bgp ${as}
 bgp router-id 10.1.1.2
 no bgp ebgp-requires-policy
 timers bgp 30 90
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart stalepath-time 60
 neighbor 10.1.1.1 remote-as ${peerAs}
 neighbor 10.1.1.1 timers connect 1
 neighbor 10.1.1.1 password heddle
${oneSession ? '' : ` neighbor fd00:1:1::1 remote-as ${peerAs}\n neighbor fd00:1:1::1 timers connect 1`}
 address-family ipv4 unicast
  network 192.168.50.0/24
${oneSession ? '' : '  no neighbor fd00:1:1::1 activate'}
 exit-address-family
 address-family ipv6 unicast
  network fd00:50::/48
  neighbor ${oneSession ? '10.1.1.1' : 'fd00:1:1::1'} activate
 exit-address-family
`;
