/** A source that waits while any of those it writes to is behind: one wait for each, however many pieces it is given. */
import type { Writable } from 'node:stream';

export interface Brake {
  /** Writes at once; the source is stopped until all have room. */
  write(to: Writable, bytes: Uint8Array): void;
}

/** `go` follows each `stop`, also when whoever is behind is closed. */
export function createBrake(source: { stop(): void; go(): void }): Brake {
  const behind = new Set<Writable>();
  return {
    write(to, bytes) {
      if (to.write(bytes) || behind.has(to)) return;
      behind.add(to);
      if (behind.size === 1) source.stop();
      const onRoom = () => {
        to.off('drain', onRoom);
        to.off('close', onRoom);
        behind.delete(to);
        if (behind.size === 0) source.go();
      };
      to.on('drain', onRoom);
      to.on('close', onRoom);
    },
  };
}
