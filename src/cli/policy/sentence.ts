/** Assertions as sentences: "nothing outside web reaches payments but on 443". */
import type { CallPort } from '../../policy/analyse/generate.ts';
import { portSet } from '../../policy/analyse/generate.ts';
import type { Assertion } from '../../policy/analyse/prove.ts';
import type { Who } from '../../policy/analyse/who.ts';
import { type Part, refused } from './question-file.ts';
import { portOfText, whoOfText } from './words.ts';

const NOTHING = /^nothing(?: (outside|in|but) (.+?))? reaches (.+?)(?: but on (.+))?$/i;
const NEVER = /^(.+?) never reaches (.+?)(?: on (.+))?$/i;
const ALWAYS = /^(.+?) reaches (.+?)(?: on (.+))?$/i;

const grammar =
  '"nothing [outside WHO | in WHO] reaches WHO [but on PORTS]", "WHO never reaches WHO [on PORTS]" or "WHO reaches WHO [on PORTS]"';

/** @throws HeddleError `BadManifest` */
export function sentenceOf(part: Part): Assertion {
  const text = String(part.value).trim().replace(/\s+/g, ' ');
  const nothing = NOTHING.exec(text);
  if (nothing) {
    const [, relation, who, to = '', ports] = nothing;
    const from: Who = who === undefined ? { type: 'anybody' } : whoOfList(who, part);
    const isIn = relation?.toLowerCase() === 'in' || who === undefined;
    return {
      from: isIn ? from : { type: 'not', who: from },
      to: whoOfList(to, part),
      must: 'only',
      ports: setOf(ports === undefined ? [] : portsOfList(ports, part)),
    };
  }
  const never = NEVER.exec(text);
  const match = never ?? ALWAYS.exec(text);
  if (!match) throw refused(part, `"${text}" is no assertion; expected ${grammar}`);
  const [, from = '', to = '', ports] = match;
  return {
    from: whoOfList(from, part),
    to: whoOfList(to, part),
    must: never ? 'never' : 'always',
    ports: setOf(ports === undefined ? null : portsOfList(ports, part)),
  };
}

export const setOf =
  (ports: readonly CallPort[] | null): Assertion['ports'] =>
  (sets) =>
    portSet(ports, sets);

/** `web`, `web and shop/cart`, `web, shop/cart` */
const split = (text: string): string[] => text.split(/,\s*| and | or /).filter((each) => each !== '');

function whoOfList(text: string, part: Part): Who {
  const list = split(text).map((each) => whoOfText(each, part));
  return list.length === 1 ? list[0]! : { type: 'any-of', list };
}

function portsOfList(text: string, part: Part): CallPort[] {
  return split(text).map((each) => {
    const port = portOfText(each);
    if (port) return port;
    throw refused(part, `"${each}" is no port; expected 443, 8000-8100, 53/udp or udp`);
  });
}
