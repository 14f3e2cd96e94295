/** The parts that an expression is parsed into. */

export type Node =
  | { readonly type: 'empty' }
  | { readonly type: 'class'; readonly holds: CodeTest }
  | { readonly type: 'assert'; readonly what: Assertion }
  | { readonly type: 'sequence'; readonly items: readonly Node[] }
  | { readonly type: 'choice'; readonly items: readonly Node[] }
  /** `max` null = without end. */
  | { readonly type: 'repeat'; readonly item: Node; readonly min: number; readonly max: number | null };

/** Of a code point. */
export type CodeTest = (code: number) => boolean;

export type Assertion =
  | 'text-start'
  | 'text-end'
  | 'line-start'
  | 'line-end'
  | 'word-boundary'
  | 'no-word-boundary';

export interface Flags {
  /** i */
  readonly anyCase: boolean;
  /** s */
  readonly dotAll: boolean;
  /** m */
  readonly lines: boolean;
}
