/** `a/web > b/db TCP 5432`, `8.8.8.8 > a/web ICMP`: a flow on one line of a test. */
import { tryParseAddress } from '../../lib/ip.ts';
import type { Flow, FlowEnd, Protocol } from '../world.ts';

export function flowOf(text: string): Flow {
  const [src = '', , dst = '', protocol = '', port] = text.split(' ');
  return {
    src: endOf(src),
    dst: endOf(dst),
    protocol: protocol as Protocol,
    port: port === undefined ? undefined : Number(port),
  };
}

const endOf = (text: string): FlowEnd => (tryParseAddress(text) ? { address: text } : { pod: text });
