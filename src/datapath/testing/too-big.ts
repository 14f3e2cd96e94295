/** What tells a sender that its packet was too big for the way. */

/** Ethernet header. */
const L2 = 14;

/** The MTU that an ICMP error names, and what packet of ours it is about; undefined for any other frame. */
export function tooBig(frame: Buffer): { family: 4 | 6; mtu: number; length: number } | undefined {
  const icmp = L2 + (frame.readUInt16BE(12) === 0x0800 ? 20 : 40);
  if (frame.length < icmp + 8 + 20) return undefined;
  // RFC 1191 section 4: destination unreachable, fragmentation needed and DF set; the MTU in the low 16 bits.
  if (icmp === L2 + 20 && frame[L2 + 9] === 1 && frame[icmp] === 3 && frame[icmp + 1] === 4)
    return { family: 4, mtu: frame.readUInt16BE(icmp + 6), length: frame.readUInt16BE(icmp + 8 + 2) };
  // RFC 4443 section 3.2: packet too big, MTU in 32 bits.
  if (icmp === L2 + 40 && frame[L2 + 6] === 58 && frame[icmp] === 2)
    return { family: 6, mtu: frame.readUInt32BE(icmp + 4), length: 40 + frame.readUInt16BE(icmp + 8 + 4) };
  return undefined;
}
