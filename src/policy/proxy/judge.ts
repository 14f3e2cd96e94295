/** Judges requests as a proxy does: by the connection's table, identity and port, without the world. */
import type { Authentication } from '../decision.ts';
import { matchesRequest, type Request } from '../request.ts';
import { matchOf } from './forms.ts';
import type { ProxyEntry, ProxyRule, ProxyRules, RequestForm, Step } from './model.ts';
import { isRules } from './steps.ts';

/** As the data path that hands it over knows it. */
export interface ProxyConnection {
  /** Of the pod that the connection is handed over for, in its direction. */
  readonly table: number;
  /** Of the other end. */
  readonly identity: number;
  /** IP protocol number. */
  readonly protocol: number;
  /** Of the destination. */
  readonly port: number;
}

export interface RequestVerdict {
  readonly verdict: 'allow' | 'deny';
  /** Number of the deciding rule or default deny; 0: none. */
  readonly rule: number;
  /** The connection must have been proved so. */
  readonly auth?: Authentication;
  /** What it would be if what is audited were enforced. */
  readonly audit: Pick<RequestVerdict, 'verdict' | 'rule'>;
}

export type RequestJudge = (connection: ProxyConnection, request: Request) => RequestVerdict;

/** For many requests use `createRequestJudge`. */
export const judgeRequest = (
  rules: ProxyRules,
  connection: ProxyConnection,
  request: Request,
): RequestVerdict => createRequestJudge(rules)(connection, request);

/** Rules may have been JSON in between. A connection that they do not hand over is denied, by no rule. */
export function createRequestJudge({ tables, sets, requests }: ProxyRules): RequestJudge {
  const find = createFinder(tables);
  const matches = createMatches(requests);
  return (connection, request) => {
    const set = sets[find(connection)?.set ?? ''];
    if (!set) return { verdict: 'deny', rule: 0, audit: { verdict: 'deny', rule: 0 } };
    const asked = askedOnce((key) => matches(key, request));
    const decided = decide(set.enforced, asked);
    const { verdict, rule } = set.audit ? decide(set.audit, asked) : decided;
    return { ...decided, audit: { verdict, rule } };
  };
}

type Decided = Omit<RequestVerdict, 'audit'>;
type Asked = (rule: ProxyRule) => boolean;

function decide(steps: readonly Step[], asked: Asked): Decided {
  for (const step of steps) {
    if (!isRules(step)) return { verdict: step.verdict, rule: step.rule };
    const decided = decideStep(step.rules, asked);
    if (decided) return decided;
  }
  throw new Error('the last step decides everything');
}

function decideStep(rules: readonly ProxyRule[], asked: Asked): Decided | undefined {
  const own = rules.filter((rule) => !rule.onward || asked(rule));
  const [first] = own;
  if (!first) return undefined;
  const proving = own.find(({ auth }) => auth === 'test-always-fail') ?? own.find(({ auth }) => auth);
  const allow = ({ rule }: ProxyRule): Decided => ({
    verdict: 'allow',
    rule,
    ...(proving?.auth ? { auth: proving.auth } : {}),
  });
  const plain = own.find(({ requests, onward }) => requests === undefined || onward);
  if (plain) return allow(proving ?? plain);
  const hit = own.find(asked);
  return hit ? allow(hit) : { verdict: 'deny', rule: first.rule };
}

/** No list is asked twice about one request. */
function askedOnce(matches: (key: string) => boolean): Asked {
  const known = new Map<string, boolean>();
  return ({ requests }) => {
    if (requests === undefined) return true;
    const before = known.get(requests);
    if (before !== undefined) return before;
    const now = matches(requests);
    known.set(requests, now);
    return now;
  };
}

/** Made when a list is first asked. */
function createMatches(requests: ProxyRules['requests']): (key: string, request: Request) => boolean {
  const made = new Map<readonly RequestForm[], ReturnType<typeof matchOf>[]>();
  return (key, request) => {
    const forms = requests[key] ?? [];
    const matches = made.get(forms) ?? forms.map(matchOf);
    made.set(forms, matches);
    return matches.some((match) => matchesRequest(match, request));
  };
}

function createFinder(tables: ProxyRules['tables']): (connection: ProxyConnection) => ProxyEntry | undefined {
  const byTable = new Map(
    tables.map(({ table, entries }) => [table, Map.groupBy(entries, ({ identity }) => identity)]),
  );
  return ({ table, identity, protocol, port }) => {
    const own = byTable.get(table);
    const entries = own?.get(identity) ?? own?.get(0);
    return (
      entries?.find(
        (each) => each.protocol === protocol && each.ports![0] <= port && port <= each.ports![1],
      ) ?? entries?.find((each) => each.protocol === null)
    );
  };
}
