/** What bird is told in tests. */

/** One session for each family with 10.1.1.1 and fd00:1:1::1; tells 192.168.50.0/24, 192.168.60.0/24 and fd00:50::/48. */
export const birdConfig = ({ as = 65002, peerAs = 65001, more = '', peers = [4, 6] }) => `
router id 10.1.1.2;
protocol device { scan time 1; }
protocol kernel { ipv4 { export all; import none; }; graceful restart; persist; }
protocol kernel { ipv6 { export all; import none; }; graceful restart; persist; }
protocol static { ipv4; route 192.168.50.0/24 blackhole { bgp_community.add((65002,50)); bgp_large_community.add((65002,1,50)); }; route 192.168.60.0/24 blackhole; }
protocol static { ipv6; route fd00:50::/48 blackhole; }
${peers
  .map(
    (family) => `protocol bgp heddle${family} {
  local ${family === 4 ? '10.1.1.2' : 'fd00:1:1::2'} as ${as};
  neighbor ${family === 4 ? '10.1.1.1' : 'fd00:1:1::1'} as ${peerAs};
  connect retry time 1; connect delay time 1; error wait time 1,2;
  graceful restart on;
  ${as === peerAs ? 'direct;' : ''}
  ipv${family} { import all; export where source = RTS_STATIC; ${as === peerAs ? 'next hop self;' : ''} };
  ${more}
}`,
  )
  .join('\n')}
`;
