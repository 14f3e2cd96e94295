/** The shape of a kind's fields, small enough to be read whole at start. */

/**
 * string, integer, number, boolean, IntOrString, quantity, time, anything at all (`o`), a definition (`r`), a list
 * (`a`), a map of texts to values (`m`), one of these texts (`e`).
 */
export type FieldType =
  | 's'
  | 'i'
  | 'n'
  | 'b'
  | 'x'
  | 'q'
  | 't'
  | 'o'
  | { readonly r: string }
  | { readonly a: FieldType }
  | { readonly m: FieldType }
  | { readonly e: readonly string[] };

/** Type, description, and 1 if the field must be there. */
export type Field = readonly [type: FieldType, description: string, required?: 1];

export interface Definition {
  readonly d: string;
  readonly p: Readonly<Record<string, Field>>;
}

export interface Schemas {
  /** Of the packages and of this format: a file with another stamp is made anew. */
  readonly stamp: string;
  /** `io.k8s.api.core.v1.PodSpec` → its fields. */
  readonly definitions: Readonly<Record<string, Definition>>;
}
