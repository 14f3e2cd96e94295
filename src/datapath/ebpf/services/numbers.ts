/**
 * Names of frontends and backends in the kernel. A backend keeps its number while it serves its frontend, also over
 * a restart of the agent; the number of one that is gone is given to no other as long as the agent runs, so that
 * affinities, sessions and counts never mean somebody else. (The kernel compares the frontend besides.)
 */
export interface Numbers {
  frontend(): number;
  backend(): number;
  /** These were found in the kernel: the next ones are higher. */
  above(found: { frontend?: number; backend?: number }): void;
}

export function createNumbers(): Numbers {
  let lastFrontend = 0;
  let lastBackend = 0;
  return {
    frontend: () => ++lastFrontend,
    backend: () => ++lastBackend,
    above({ frontend = 0, backend = 0 }) {
      lastFrontend = Math.max(lastFrontend, frontend);
      lastBackend = Math.max(lastBackend, backend);
    },
  };
}
