/** Compiles a World to tables, and to the rules by which a proxy judges requests on what they hand over. */
import { type CompileOptions, createRoleCompiler } from '../compile.ts';
import type { PolicyTables } from '../tables.ts';
import type { World } from '../world.ts';
import type { ProxyRules } from './model.ts';
import { createPool } from './pool.ts';
import { createRoleRules } from './role-rules.ts';

export interface CompiledForProxy {
  readonly tables: PolicyTables;
  readonly requests: ProxyRules;
}

export function compileForProxy(world: World, options: CompileOptions = {}): CompiledForProxy {
  return createProxyCompiler()(world, options);
}

/** Remembers the last world for its tables; rules for requests are made again each time. */
export function createProxyCompiler(): (world: World, options?: CompileOptions) => CompiledForProxy {
  const next = createRoleCompiler();
  return (world, options) => {
    const { tables, numbering, roles } = next(world, options);
    const pool = createPool();
    const made = roles().flatMap((each) => createRoleRules(each, numbering, pool) ?? []);
    made.sort((a, b) => a.table - b.table);
    return { tables, requests: { tables: made, ...pool.all(tables.rules) } };
  };
}
