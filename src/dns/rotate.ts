/** Turns the order of several addresses by one from answer to answer: many clients take the first. */
import type { Answer, Plugin } from './chain.ts';

export function rotate(): Plugin {
  let turn = 0;
  const turned = (answer: Answer): Answer => {
    const { answers } = answer;
    const first = answers[0]?.type;
    // Behind an alias the order has a meaning.
    if (answers.length < 2 || first === 'CNAME') return answer;
    const by = turn++ % answers.length;
    return { ...answer, answers: [...answers.slice(by), ...answers.slice(0, by)] };
  };
  return (query, next) => {
    const answer = next(query);
    return answer instanceof Promise ? answer.then(turned) : turned(answer);
  };
}
