/** What of the machine's rules belongs to an attachment that is on a shared link: who keeps it, and what it is. */
export interface LinkRules {
  /** Name of the host's end, or the mark of an attachment without one. */
  readonly link: string;
  /** Addresses with the prefix length of their network, which appear elsewhere with the machine's own. */
  readonly masquerade?: readonly string[];
  /** The only link address that may send by `link`. */
  readonly mac?: string;
}

export interface RulesKeeper {
  /** What `link` had before is replaced. @throws HeddleError `Nft` */
  set(rules: LinkRules): void;
  /** Nothing happens where it has none. */
  clear(link: string): void;
  /** What of it is missing, in words. */
  missing(rules: LinkRules): string[];
  holders(): string[];
  /** What the kernel held of it when this began, or was given since. */
  held(link: string): LinkRules;
}
