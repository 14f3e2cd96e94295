/** Signals by the names that images use: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`. Pure. */
import { constants } from 'node:os';

const SIGRTMIN = 34;
const TERM = constants.signals.SIGTERM;

/** TERM where the text is none. */
export function signalNumber(text: string | undefined): number {
  if (text === undefined || text === '') return TERM;
  const name = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const real = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(name);
  const number = /^\d+$/.test(text) ? Number(text) : real ? SIGRTMIN + Number(real[1] ?? 0) : byName(name);
  return number !== undefined && number >= 1 && number <= 64 ? number : TERM;
}

const byName = (name: string): number | undefined =>
  Object.hasOwn(constants.signals, name) ? constants.signals[name as NodeJS.Signals] : undefined;
