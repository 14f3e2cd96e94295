/** Which protocol a client speaks, told from its first bytes. */
export type Sniffed = 'http1' | 'http2' | 'raw' | 'more';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** A request line longer than this is not taken for HTTP. */
const MAX_LINE = 16_384;

/** `more`: the bytes so far could become HTTP. */
export function sniff(bytes: Buffer): Sniffed {
  const head = bytes.toString('latin1', 0, PREFACE.length);
  if (PREFACE.startsWith(head)) return head.length === PREFACE.length ? 'http2' : 'more';
  const token = /^[A-Z]{1,20}(?<rest>[\s\S]?)/.exec(bytes.toString('latin1', 0, 24));
  if (!token || (token.groups!['rest'] !== '' && token.groups!['rest'] !== ' ')) return 'raw';
  const end = bytes.subarray(0, MAX_LINE).indexOf(0x0a);
  if (end < 0) return bytes.length >= MAX_LINE ? 'raw' : 'more';
  return / HTTP\/1\.\d\r?$/.test(bytes.toString('latin1', 0, end)) ? 'http1' : 'raw';
}
