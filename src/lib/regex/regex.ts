/**
 * Regular expressions of RE2 syntax from people who may mean harm: whether a text matches is found in time linear in
 * its length, whatever the expression. Sets of states are walked, and what they lead to is remembered.
 */
import { HeddleError } from '../errors.ts';
import { isWord } from './classes.ts';
import { parseRegex } from './parse.ts';
import { compileNode, type Program } from './program.ts';
import type { Assertion } from './syntax.ts';

export interface Regex {
  readonly source: string;
  /** Of the whole text, as if between ^ and $. */
  fullMatch(text: string): boolean;
  /** Anywhere in the text. */
  search(text: string): boolean;
}

const MAX_SOURCE = 4096;

/** @throws HeddleError `BadRegex`: its syntax, or its size */
export function compileRegex(source: string): Regex {
  if (source.length > MAX_SOURCE)
    throw new HeddleError(
      'BadRegex',
      `a regular expression has ${source.length} characters, and may have ${MAX_SOURCE}`,
    );
  const program = compileNode(parseRegex(source));
  const whole = createMatcher(program, false);
  const anywhere = createMatcher(program, true);
  return { source, fullMatch: whole, search: anywhere };
}

/** Where the machine may stand, whether that is its end, and where it goes with the next code point. */
interface State {
  readonly places: readonly number[];
  readonly isMatch: boolean;
  readonly next: (State | undefined)[];
}

/** States that are remembered; beyond, all are forgotten. */
const MAX_STATES = 500;
/** Code points of which each state remembers where they lead: of ASCII, which is nearly all there is. */
const REMEMBERED = 128;

function createMatcher(program: Program, isAnywhere: boolean): (text: string) => boolean {
  const walk = createWalk(program);
  if (program.hasAssertions) return (text) => simulate(walk, program, text, isAnywhere);
  let states = new Map<string, State>();
  let kinds: Kinds | undefined;
  const stateOf = (places: readonly number[]): State => {
    const key = places.join(' ');
    let state = states.get(key);
    if (!state) {
      if (states.size >= MAX_STATES) states = new Map();
      const isMatch = places.some((at) => program.steps[at]!.type === 'match');
      kinds ??= kindsOf(program);
      state = { places, isMatch, next: Array.from<State | undefined>({ length: kinds.count }) };
      states.set(key, state);
    }
    return state;
  };
  const follow = (state: State, code: number): State => {
    const to = stateOf(walk(taken(program, state.places, code, isAnywhere), nowhere));
    if (code < REMEMBERED) state.next[kinds!.of[code]!] = to;
    return to;
  };
  let start: State | undefined;
  return (text) => {
    let state = (start ??= stateOf(walk([0], nowhere)));
    const kindOf = kinds!.of;
    for (let i = 0; i < text.length; i++) {
      if (isAnywhere && state.isMatch) return true;
      if (state.places.length === 0) return false;
      const code = text.charCodeAt(i);
      if (code < REMEMBERED) state = state.next[kindOf[code]!] ?? follow(state, code);
      else {
        const point = text.codePointAt(i)!;
        if (point > 0xffff) i++;
        state = follow(state, point);
      }
    }
    return state.isMatch;
  };
}

/** Of more, each code point is of a kind of its own: to compare them would take longer than to match. */
const MAX_TESTS = 100;

interface Kinds {
  readonly count: number;
  readonly of: Uint8Array;
}

/** Code points of ASCII that no step tells apart are of one kind. */
function kindsOf({ steps }: Program): Kinds {
  const tests = new Set(steps.flatMap((step) => (step.type === 'take' ? [step.holds] : [])));
  if (tests.size > MAX_TESTS)
    return { count: REMEMBERED, of: Uint8Array.from({ length: REMEMBERED }, (_, i) => i) };
  const of = new Uint8Array(REMEMBERED);
  let count = 1;
  for (const holds of tests) {
    /** By the kind it was of, the new kind of those that it takes. */
    const taken = new Map<number, number>();
    const left = new Set<number>();
    for (let code = 0; code < REMEMBERED; code++) if (!holds(code)) left.add(of[code]!);
    for (let code = 0; code < REMEMBERED; code++) {
      const was = of[code]!;
      if (!holds(code) || !left.has(was)) continue;
      const kind = taken.get(was) ?? count++;
      taken.set(was, kind);
      of[code] = kind;
    }
  }
  return { count, of };
}

/** Where the steps lead that take this code point. */
function taken({ steps }: Program, places: readonly number[], code: number, isAnywhere: boolean): number[] {
  const to = isAnywhere ? [0] : [];
  for (const at of places) {
    const step = steps[at]!;
    if (step.type === 'take' && step.holds(code)) to.push(at + 1);
  }
  return to;
}

type Holds = (what: Assertion) => boolean;
const nowhere: Holds = () => false;

/** All steps that take or match which are reached without taking anything, ascending. */
function createWalk({ steps }: Program) {
  const seen = new Uint32Array(steps.length);
  let round = 0;
  return (from: readonly number[], holds: Holds): number[] => {
    round++;
    const found: number[] = [];
    const open = [...from];
    while (open.length > 0) {
      const at = open.pop()!;
      if (seen[at] === round) continue;
      seen[at] = round;
      const step = steps[at]!;
      if (step.type === 'jump') open.push(step.to);
      else if (step.type === 'split') open.push(...step.to);
      else if (step.type !== 'assert') found.push(at);
      else if (holds(step.what)) open.push(at + 1);
    }
    return found.sort((a, b) => a - b);
  };
}

function simulate(
  walk: ReturnType<typeof createWalk>,
  program: Program,
  text: string,
  isAnywhere: boolean,
): boolean {
  const codes = Array.from(text, (char) => char.codePointAt(0)!);
  const isMatch = (places: readonly number[]) => places.some((at) => program.steps[at]!.type === 'match');
  let places = walk([0], at(codes, 0));
  for (const [i, code] of codes.entries()) {
    if (isAnywhere && isMatch(places)) return true;
    if (places.length === 0 && !isAnywhere) return false;
    places = walk(taken(program, places, code, isAnywhere), at(codes, i + 1));
  }
  return isMatch(places);
}

/** What holds before the code point of this number. */
function at(codes: readonly number[], i: number): Holds {
  const [before, after] = [codes[i - 1], codes[i]];
  return (what) => {
    switch (what) {
      case 'text-start':
        return before === undefined;
      case 'text-end':
        return after === undefined;
      case 'line-start':
        return before === undefined || before === 10;
      case 'line-end':
        return after === undefined || after === 10;
      default: {
        const isBoundary = hasWord(before) !== hasWord(after);
        return isBoundary === (what === 'word-boundary');
      }
    }
  };
}

const hasWord = (code: number | undefined): boolean => code !== undefined && isWord(code);
