/** Lists of conditions: one of each type, whose transition time moves only when its status does. */
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
  lastProbeTime?: string | null;
}

/** A new list with `condition` in it; the old list itself when it says so already. `now` as on the wire. */
export function withCondition<C extends Condition>(
  conditions: readonly C[] = [],
  condition: C,
  now: string,
): C[] {
  const before = conditions.find((one) => one.type === condition.type);
  const { status, reason, message } = condition;
  if (before && before.status === status && before.reason === reason && before.message === message)
    return conditions as C[];
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
  const next = { ...condition, lastTransitionTime };
  return before ? conditions.map((one) => (one === before ? next : one)) : [...conditions, next];
}

export const withoutCondition = <C extends Condition>(conditions: readonly C[] = [], type: string): C[] =>
  conditions.some((one) => one.type === type)
    ? conditions.filter((one) => one.type !== type)
    : (conditions as C[]);
