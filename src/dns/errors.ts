/** A plugin that throws costs its asker a SERVFAIL and a line in the log, never the server. */
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { failure, type Plugin, type Query } from './chain.ts';
import { RCODE } from './message.ts';

export function answerErrors(log: Log): Plugin {
  const failed =
    ({ name, type, client }: Query) =>
    (error: unknown) => {
      log.error('a DNS query failed', { name, type, client, error: errorText(error) });
      return failure(RCODE.SERVFAIL);
    };
  return (query, next) => {
    try {
      const answer = next(query);
      return answer instanceof Promise ? answer.catch(failed(query)) : answer;
    } catch (error) {
      return failed(query)(error);
    }
  };
}
