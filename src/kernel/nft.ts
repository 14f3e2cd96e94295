/**
 * nftables by libnftables: commands go in as text (`nft -f` syntax), one call is one transaction. A context
 * belongs to the namespace it was made in; calls run there too, since names of links are looked up by the caller.
 */
import { HeddleError } from '../lib/errors.ts';
import { keepDescriptors } from './descriptors.ts';
import { libnftables, type Pointer } from './ffi.ts';
import { inNetns, type Netns } from './netns.ts';

const OUTPUT_HANDLE = 1 << 3;
const OUTPUT_JSON = 1 << 4;
/** A batch of thousands of commands repeats its error for each. */
const MAX_WORDS = 600;

export interface Nft {
  /**
   * Runs commands as one transaction: all or nothing. Returns what `list` printed.
   * @throws HeddleError `Nft`
   */
  run(commands: string): string;
  /** Runs `list …` commands and returns libnftables' JSON, parsed (`{nftables: [...]}`); undefined for no output. */
  json(commands: string): unknown;
  close(): void;
}

/** @throws HeddleError `LibraryMissing`, `Nft` */
export function openNft(ns?: Netns): Nft {
  const library = libnftables();
  const inside = <T>(fn: () => T): T => (ns ? inNetns(ns, fn) : fn());
  let context: Pointer | null = inside(() => library.contextNew(0));
  if (!context) throw new HeddleError('Nft', 'cannot make an nftables context', { hint: 'out of memory' });
  // libmnl opens its socket for children too.
  keepDescriptors();
  library.bufferOutput(context);
  library.bufferError(context);

  function execute(commands: string, flags: number): string {
    const open = context;
    if (!open) throw new HeddleError('Nft', 'this nftables context is closed');
    library.setOutputFlags(open, flags);
    const code = inside(() => library.run(open, `${commands}\n`));
    // Reading a buffer also empties it: both, or the next error carries this call's words.
    const output = library.output(open) ?? '';
    const words = library.error(open) ?? '';
    if (code !== 0) throw nftError(words, ns);
    return output;
  }

  return {
    run: (commands) => execute(commands, 0),
    json(commands) {
      const output = execute(commands, OUTPUT_JSON | OUTPUT_HANDLE);
      return output.trim() === '' ? undefined : JSON.parse(output);
    },
    close() {
      if (context) library.contextFree(context);
      context = null;
    },
  };
}

function nftError(words: string, ns: Netns | undefined): HeddleError {
  const text = words.trim();
  const short = text.length > MAX_WORDS ? `${text.slice(0, MAX_WORDS)} …` : text;
  const where = ns ? ` in ${ns.path}` : '';
  return new HeddleError('Nft', `nftables refused the change${where}: ${short || 'no reason given'}`, {
    hint: hintFor(text),
  });
}

function hintFor(words: string): string | undefined {
  if (words.includes('Operation not permitted')) return 'this needs root with CAP_NET_ADMIN';
  if (words.includes('Operation not supported'))
    return 'the kernel lacks a feature that the rule uses: `heddle doctor` names which';
  return undefined;
}
