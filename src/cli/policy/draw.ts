/** Graphs as Graphviz text, and as an SVG in layers that needs no program to be made. */

export interface Graph {
  readonly nodes: readonly { readonly name: string; readonly group: string | undefined }[];
  readonly edges: readonly Labelled[];
}

export interface Labelled {
  readonly from: string;
  readonly to: string;
  readonly label: string;
  readonly change?: 'added' | 'removed' | 'changed' | undefined;
}

const colours = { added: '#15803d', removed: '#b91c1c', changed: '#b45309' } as const;
const colourOf = ({ change }: Labelled): string => (change ? colours[change] : '#475569');

export function drawDot({ nodes, edges }: Graph): string {
  const quote = (text: string) =>
    `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', ' ')}"`;
  const groups = new Map<string | undefined, string[]>();
  for (const { name, group } of nodes) groups.set(group, [...(groups.get(group) ?? []), name]);
  const lines = ['digraph connectivity {', '  rankdir=LR;', '  node [shape=box];'];
  let number = 0;
  for (const [group, names] of groups) {
    if (group === undefined) {
      lines.push(...names.map((name) => `  ${quote(name)} [shape=ellipse];`));
      continue;
    }
    lines.push(`  subgraph cluster_${number++} {`, `    label=${quote(group)};`);
    lines.push(...names.map((name) => `    ${quote(name)};`), '  }');
  }
  for (const edge of edges) {
    const style = edge.change === 'removed' ? ', style=dashed' : '';
    lines.push(
      `  ${quote(edge.from)} -> ${quote(edge.to)} [label=${quote(edge.label)}, color="${colourOf(edge)}"${style}];`,
    );
  }
  return `${lines.join('\n')}\n}\n`;
}

const BOX = { width: 240, height: 34, gapX: 200, gapY: 22, margin: 30 } as const;

export function drawSvg(graph: Graph): string {
  const layer = layersOf(graph);
  const columns: string[][] = [];
  for (const { name } of graph.nodes) (columns[layer.get(name)!] ??= []).push(name);
  const at = new Map<string, { x: number; y: number }>();
  for (const [x, names] of columns.entries())
    for (const [y, name] of (names ?? []).entries())
      at.set(name, {
        x: BOX.margin + x * (BOX.width + BOX.gapX),
        y: BOX.margin + y * (BOX.height + BOX.gapY),
      });
  const rows = Math.max(1, ...columns.map((names) => names?.length ?? 0));
  const width = 2 * BOX.margin + Math.max(1, columns.length) * (BOX.width + BOX.gapX) - BOX.gapX;
  const height = 2 * BOX.margin + rows * (BOX.height + BOX.gapY) - BOX.gapY;
  const edges = graph.edges.map((edge) => svgEdge(edge, at.get(edge.from)!, at.get(edge.to)!));
  const boxes = graph.nodes.map(({ name, group }) => svgBox(name, group === undefined, at.get(name)!));
  const heads = ['#475569', ...Object.values(colours)].map(
    (colour) =>
      `<marker id="head-${colour.slice(1)}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="${colour}"/></marker>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<defs>${heads.join('')}</defs>
<rect width="100%" height="100%" fill="#ffffff"/>
${edges.join('\n')}
${boxes.join('\n')}
</svg>
`;
}

/** Depth from those that nobody calls; what only cycles lead to begins at the first of its cycle. */
function layersOf({ nodes, edges }: Graph): Map<string, number> {
  const next = new Map<string, string[]>(nodes.map(({ name }) => [name, []]));
  const called = new Set<string>();
  for (const { from, to } of edges) {
    next.get(from)?.push(to);
    if (from !== to) called.add(to);
  }
  const layer = new Map<string, number>();
  const visit = (starts: readonly string[]) => {
    for (let front = starts, depth = 0; front.length > 0; depth++) {
      for (const name of front) layer.set(name, depth);
      front = [...new Set(front.flatMap((name) => next.get(name) ?? []))].filter((name) => !layer.has(name));
    }
  };
  visit(nodes.map(({ name }) => name).filter((name) => !called.has(name)));
  for (const { name } of nodes) if (!layer.has(name)) visit([name]);
  return layer;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

const escape = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    // XML 1.0 section 2.2 has no other control characters.
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD]/g, '?');

const short = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

function svgBox(name: string, outside: boolean, { x, y }: Point): string {
  const { width, height } = BOX;
  return `<g><title>${escape(name)}</title><rect x="${x}" y="${y}" width="${width}" height="${height}" rx="${outside ? 17 : 5}" fill="${outside ? '#fef3c7' : '#e0f2fe'}" stroke="#334155"/><text x="${x + width / 2}" y="${y + 21}" text-anchor="middle">${escape(short(name, 36))}</text></g>`;
}

function svgEdge(edge: Labelled, from: Point, to: Point): string {
  const colour = colourOf(edge);
  const back = to.x <= from.x;
  const start = { x: from.x + BOX.width, y: from.y + BOX.height / 2 };
  const end = { x: back ? to.x + BOX.width : to.x, y: to.y + BOX.height / 2 };
  // Within a layer and backwards it leaves and comes back on the right.
  const bend = back ? Math.max(start.x, end.x) + BOX.gapX * 0.6 : (start.x + end.x) / 2;
  const path = `M${start.x} ${start.y}C${bend} ${start.y} ${bend} ${end.y} ${end.x} ${end.y}`;
  const middle = { x: back ? bend - 40 : (start.x + end.x) / 2, y: (start.y + end.y) / 2 - 4 };
  const dash = edge.change === 'removed' ? ' stroke-dasharray="5 4"' : '';
  return `<g><title>${escape(`${edge.from} → ${edge.to}: ${edge.label}`)}</title><path d="${path}" fill="none" stroke="${colour}"${dash} marker-end="url(#head-${colour.slice(1)})"/><text x="${middle.x}" y="${middle.y}" text-anchor="middle" fill="${colour}" font-size="10">${escape(short(edge.label, 30))}</text></g>`;
}
