/** An expression as a machine of few kinds of steps (Thompson's construction). */
import { HeddleError } from '../errors.ts';
import type { Assertion, CodeTest, Node } from './syntax.ts';

export type Step =
  | { readonly type: 'take'; readonly holds: CodeTest }
  /** Both ways at once. */
  | { readonly type: 'split'; readonly to: readonly [number, number] }
  | { readonly type: 'jump'; readonly to: number }
  | { readonly type: 'assert'; readonly what: Assertion }
  | { readonly type: 'match' };

export interface Program {
  readonly steps: readonly Step[];
  readonly hasAssertions: boolean;
}

/** Time to match is at most this, times the length of the text. */
const MAX_STEPS = 5000;
/** Repetitions of nothing make no step, but take time all the same. */
const MAX_WORK = 100_000;

type Draft =
  | Exclude<Step, { type: 'split' | 'jump' }>
  | { type: 'split'; to: [number, number] }
  | { type: 'jump'; to: number };

/** @throws HeddleError `BadRegex` */
export function compileNode(node: Node): Program {
  const steps: Draft[] = [];
  let work = 0;
  const emit = (step: Draft): number => {
    if (steps.length >= MAX_STEPS) throw tooLarge();
    return steps.push(step) - 1;
  };

  function add(each: Node): void {
    if (++work > MAX_WORK) throw tooLarge();
    switch (each.type) {
      case 'empty':
        return;
      case 'class':
        emit({ type: 'take', holds: each.holds });
        return;
      case 'assert':
        emit({ type: 'assert', what: each.what });
        return;
      case 'sequence':
        for (const item of each.items) add(item);
        return;
      case 'choice':
        addChoice(each.items);
        return;
      default:
        addRepeat(each);
    }
  }

  function addChoice(items: readonly Node[]): void {
    const jumps: { type: 'jump'; to: number }[] = [];
    for (const [i, item] of items.entries()) {
      if (i === items.length - 1) {
        add(item);
        break;
      }
      const split = { type: 'split' as const, to: [0, 0] as [number, number] };
      split.to[0] = emit(split) + 1;
      add(item);
      const jump = { type: 'jump' as const, to: 0 };
      emit(jump);
      jumps.push(jump);
      split.to[1] = steps.length;
    }
    for (const jump of jumps) jump.to = steps.length;
  }

  function addRepeat({ item, min, max }: Extract<Node, { type: 'repeat' }>): void {
    for (let i = 0; i < min; i++) add(item);
    if (max === null) {
      const split = { type: 'split' as const, to: [0, 0] as [number, number] };
      const at = emit(split);
      split.to[0] = at + 1;
      add(item);
      emit({ type: 'jump', to: at });
      split.to[1] = steps.length;
      return;
    }
    const splits: { type: 'split'; to: [number, number] }[] = [];
    for (let i = min; i < max; i++) {
      const split = { type: 'split' as const, to: [0, 0] as [number, number] };
      split.to[0] = emit(split) + 1;
      splits.push(split);
      add(item);
    }
    for (const split of splits) split.to[1] = steps.length;
  }

  add(node);
  emit({ type: 'match' });
  return { steps, hasAssertions: steps.some(({ type }) => type === 'assert') };
}

const tooLarge = (): HeddleError =>
  new HeddleError('BadRegex', `a regular expression makes more than ${MAX_STEPS} steps`, {
    hint: 'Counted repetitions inside counted repetitions multiply. Write * or + where any number will do.',
  });
