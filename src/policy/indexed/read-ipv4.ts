/** An IPv4 address as a number, as lib/ip.ts reads it but without big integers; undefined for what is none. */
export function readIpv4(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let parts = 1;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0 || ++parts > 4) return undefined;
      value = value * 256 + octet;
      octet = -1;
      continue;
    }
    const digit = code - ZERO;
    // No leading zeros.
    if (digit < 0 || digit > 9 || octet === 0) return undefined;
    octet = octet < 0 ? digit : octet * 10 + digit;
    if (octet > 255) return undefined;
  }
  return parts === 4 && octet >= 0 ? value * 256 + octet : undefined;
}

const DOT = 46;
const ZERO = 48;
