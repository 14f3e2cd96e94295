/** Ends of a connection, in words that name it. */
import type { Ends } from './backend.ts';

export const endsText = ({ protocol, src, srcPort, dst, dstPort }: Ends): string =>
  `${protocol} ${src} ${srcPort} ${dst} ${dstPort}`;
