/**
 * A flow on one line of a test: `a/web > b/db TCP 5432`, `8.8.8.8 > a/web ICMP`. A type of ICMP message may follow,
 * `ICMP 8`, or a request: `GET /x?y`, `dns a.example`, `kafka produce orders`, `grpc
 * pkg.Service/Method`, `bytes`; and then what else is known: `host=a.example`, `header:x-user=ann`,
 * `claim:groups=["a","b"]`, `tls=none`, `principal=…`, `sni=…`, `remote=203.0.113.9`, `provider:opa=deny`.
 */
import { tryParseAddress } from '../../lib/ip.ts';
import type { Request } from '../request.ts';
import type { Flow, FlowEnd, FlowPeer, Protocol } from '../world.ts';

export function flowOf(text: string): Flow {
  const [src = '', , dst = '', protocol = '', ...more] = text.split(' ');
  const port = /^\d+$/.test(more[0] ?? '') ? Number(more.shift()) : undefined;
  const words = more.filter((word) => !isFact(word));
  const facts = more.filter(isFact).map((word): [string, string] => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)];
  });
  const request = requestOf(words, facts);
  const peer = peerOf(new Map(facts));
  const providers = Object.fromEntries(within('provider:', facts)) as Flow['providers'];
  return {
    src: endOf(src),
    dst: endOf(dst),
    protocol: protocol as Protocol,
    port: protocol === 'ICMP' ? undefined : port,
    ...(protocol === 'ICMP' && port !== undefined ? { icmp: { type: port, code: 0 } } : {}),
    ...(request ? { request } : {}),
    ...(peer ? { peer } : {}),
    ...(facts.some(([key]) => key.startsWith('provider:')) ? { providers } : {}),
  };
}

const endOf = (text: string): FlowEnd => (tryParseAddress(text) ? { address: text } : { pod: text });

const isFact = (word: string): boolean => /^[a-z]+(:[^=]+)?=/.test(word);

const within = (prefix: string, facts: readonly (readonly [string, string])[]): [string, string][] =>
  facts.filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value]);

function requestOf(words: readonly string[], facts: readonly [string, string][]): Request | undefined {
  const [method, path = ''] = words;
  if (method === undefined) return undefined;
  if (method === 'bytes') return { type: 'bytes' };
  if (method === 'dns') return { type: 'dns', name: path };
  if (method === 'kafka') return { type: 'kafka', apiKey: path, topic: words[2] };
  const claims = within('claim:', facts).map(([name, value]) => [name, claimOf(value)]);
  const more = {
    host: new Map(facts).get('host'),
    headers: Object.fromEntries(within('header:', facts)),
    ...(claims.length > 0 ? { claims: Object.fromEntries(claims) as Record<string, unknown> } : {}),
  };
  if (method !== 'grpc') return { type: 'http', method, path, ...more };
  const [service = '', call = ''] = path.split('/');
  return { type: 'grpc', service, method: call, ...more };
}

const claimOf = (text: string): unknown => (/^[[{]/.test(text) ? JSON.parse(text) : text);

function peerOf(facts: ReadonlyMap<string, string>): FlowPeer | undefined {
  const given = ['tls', 'principal', 'sni', 'remote'].filter((key) => facts.has(key));
  if (given.length === 0) return undefined;
  return Object.fromEntries(given.map((key) => [key, facts.get(key)])) as FlowPeer;
}
