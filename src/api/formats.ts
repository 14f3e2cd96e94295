/**
 * Text formats of names, labels and ports. Each returns its complaints, none if the text is right; words and
 * limits are Kubernetes' own, because clients show and match them.
 */
export type Format = (text: string) => string[];

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const LABEL_1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const NAME_PART = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const LABEL_VALUE = `(${NAME_PART})?`;

const bytes = (text: string): number => Buffer.byteLength(text);
const tooLongWords = (limit: number): string => `must be no more than ${limit} bytes`;

function pattern(words: string, source: string, examples: string[], limit?: number): Format {
  const regex = new RegExp(`^${source}$`);
  const shown = examples.map((e) => `'${e}'`).join(',  or ');
  const complaint = `${words} (e.g. ${shown}, regex used for validation is '${source}')`;
  return (text) => {
    const complaints: string[] = [];
    if (limit !== undefined && bytes(text) > limit) complaints.push(tooLongWords(limit));
    if (!regex.test(text)) complaints.push(complaint);
    return complaints;
  };
}

export const dns1123Label = pattern(
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  LABEL,
  ['my-name', '123-abc'],
  63,
);

export const dns1123Subdomain = pattern(
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  SUBDOMAIN,
  ['example.com'],
  253,
);

export const dns1035Label = pattern(
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  LABEL_1035,
  ['my-name', 'abc-123'],
  63,
);

const namePart = pattern(
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  NAME_PART,
  ['MyName', 'my.name', '123-abc'],
);

/** `name` or `prefix/name`: label keys, annotation keys, resource names, condition types. */
export const qualifiedName: Format = (text) => {
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  if (parts.length > 2)
    return [
      `a qualified name ${namePart('')[0]?.replace('name part ', '')} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  const complaints: string[] = [];
  if (parts.length === 2) {
    const prefix = parts[0] ?? '';
    if (prefix === '') complaints.push('prefix part must be non-empty');
    else complaints.push(...dns1123Subdomain(prefix).map((c) => `prefix part ${c}`));
  }
  if (name === '') complaints.push('name part must be non-empty');
  else if (bytes(name) > 63) complaints.push(`name part ${tooLongWords(63)}`);
  complaints.push(...namePart(name));
  return complaints;
};

export const labelValue = pattern(
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  LABEL_VALUE,
  ['MyValue', 'my_value', '12345'],
  63,
);

/** Keys of ConfigMaps and Secrets. */
export const configKey: Format = (text) => {
  const complaints: string[] = [];
  if (bytes(text) > 253) complaints.push(tooLongWords(253));
  if (!/^[-._a-zA-Z0-9]+$/.test(text))
    complaints.push(
      "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
  if (text === '.') complaints.push("must not be '.'");
  if (text === '..') complaints.push("must not be '..'");
  else if (text.startsWith('..')) complaints.push("must not start with '..'");
  return complaints;
};

/** Any printable ASCII but `=` (Kubernetes 1.34 and later). */
export const envName: Format = (text) =>
  /^[\x20-\x3c\x3e-\x7e]+$/.test(text)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];

/** RFC 6335 section 5.1, lower case. */
export const portName: Format = (text) => {
  const complaints: string[] = [];
  if (text.length > 15) complaints.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(text))
    complaints.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(text)) complaints.push('must contain at least one letter (a-z)');
  if (text.includes('--')) complaints.push('must not contain consecutive hyphens');
  if (text.startsWith('-') || text.endsWith('-')) complaints.push('must not begin or end with a hyphen');
  return complaints;
};

/** For numbers 1 to 65535. */
export const portNumber = (port: number): string[] =>
  Number.isInteger(port) && port >= 1 && port <= 65535 ? [] : ['must be between 1 and 65535, inclusive'];

/** Label keys are qualified names; a trailing dash is what `generateName` may end with. */
export const prefixOf =
  (format: Format): Format =>
  (text) =>
    format(text.endsWith('-') ? `${text.slice(0, -1)}a` : text);
