import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSelectorExpression, type SelectorExpression } from '../../api/calico-selector.ts';
import { calicoSelector, readExpression } from './calico-selector.ts';

const parseCalicoSelector = (text: string) => {
  const read = readExpression(text);
  return read.ok ? { ok: true as const, selector: calicoSelector(read.expression) } : read;
};

function selects(text: string, labels: Record<string, string>): boolean {
  const parsed = parseCalicoSelector(text);
  assert.ok(parsed.ok, `${text}: ${parsed.ok ? '' : parsed.message}`);
  return parsed.selector.selects(labels);
}

const examples: [text: string, yes: Record<string, string>[], no: Record<string, string>[]][] = [
  ['', [{}, { a: 'b' }], []],
  ['  \t', [{}], []],
  ['all()', [{}, { a: 'b' }], []],
  ['all( )', [{}], []],
  [`a == 'b'`, [{ a: 'b' }], [{}, { a: 'c' }]],
  ['a == "it\'s"', [{ a: "it's" }], [{ a: 'its' }]],
  [`a == ''`, [{ a: '' }], [{}]],
  ['a != "b"', [{}, { a: 'c' }], [{ a: 'b' }]],
  ['has(a)', [{ a: '' }], [{}, { b: '' }]],
  ['has( a.b/c-d_e )', [{ 'a.b/c-d_e': '1' }], [{}]],
  ['!has(a)', [{}], [{ a: '' }]],
  ['! ! has(a)', [{ a: '' }], [{}]],
  ['a in {"b", "c"}', [{ a: 'b' }, { a: 'c' }], [{}, { a: 'd' }]],
  ['a in{"b",}', [{ a: 'b' }], [{}]],
  ['a in {}', [], [{}, { a: 'b' }]],
  ['a not in {"b"}', [{}, { a: 'c' }], [{ a: 'b' }]],
  ['a notin {"b"}', [{}], [{ a: 'b' }]],
  ['a contains "b"', [{ a: 'abc' }], [{}, { a: 'ac' }]],
  ['a starts with "b"', [{ a: 'bc' }], [{}, { a: 'cb' }]],
  ['a startswith "b"', [{ a: 'bc' }], [{ a: 'cb' }]],
  ['a ends \t with "b"', [{ a: 'cb' }], [{}, { a: 'bc' }]],
  ['a == "1" && b == "2" || c == "3"', [{ a: '1', b: '2' }, { c: '3' }], [{ a: '1' }]],
  ['a == "1" && (b == "2" || c == "3")', [{ a: '1', c: '3' }], [{ c: '3' }, { a: '1' }]],
  ['!(a == "1" && b == "2")', [{ a: '1' }, {}], [{ a: '1', b: '2' }]],
  ['has == "all" && in in {"in"}', [{ has: 'all', in: 'in' }], [{ has: 'all' }]],
  ['constructor != "x" && !has(toString)', [{}], [{ toString: 'x' }]],
];

test('what an expression selects', () => {
  for (const [text, yes, no] of examples) {
    for (const labels of yes) assert.ok(selects(text, labels), `${text} ${JSON.stringify(labels)}`);
    for (const labels of no) assert.ok(!selects(text, labels), `${text} ${JSON.stringify(labels)}`);
  }
});

const complaints: [text: string, words: string][] = [
  ['a', 'column 2: expected ==, !=, in, not in, contains, starts with or ends with after "a"'],
  ['a b', 'column 3: expected ==, !=, in, not in, contains, starts with or ends with after the label'],
  ['a = "b"', 'column 3: expected =='],
  ['a & b', 'column 3: expected &&'],
  ['a == b', 'column 6: expected a text in quotes after ==, found "b"'],
  ['a == "b', 'column 6: the text that begins here has no closing "'],
  ['a == "b" c', 'column 10: expected && or ||, found "c"'],
  ['a in "b"', 'column 6: expected a set, {"a", "b"}, after in, found "b"'],
  ['a in {"b"', 'column 10: expected a text in quotes, a comma or }, found the end'],
  ['(a == "b"', 'column 10: expected &&, || or ), found the end'],
  ['a == "b")', 'column 9: expected && or ||, found )'],
  ['&& a', 'column 1: expected a label, has(), all(), ! or a parenthesis, found &&'],
  ['has(', 'column 1: expected has(label)'],
  ['all(a)', 'column 1: expected all()'],
  ['has(a) has(b)', 'column 8: expected && or ||, found has"b"'],
  ['ä == "b"', 'column 1: "ä" was not expected'],
  ['a ==\n"b"', 'column 5: "\\n" was not expected'],
  [
    'all() && global()',
    'has global(), which may only be the whole of the namespaceSelector of a source or destination',
  ],
  [`${'('.repeat(5000)}all()`, 'column 101: more than 100 parentheses within each other'],
];

test('what is no expression is refused, with the column', () => {
  for (const [text, words] of complaints) {
    const parsed = parseCalicoSelector(text);
    assert.equal(
      parsed.ok ? 'no complaint' : parsed.message,
      words.startsWith('column') ? `is no expression: ${words}` : words,
      text.slice(0, 50),
    );
  }
});

test('global() is read where it may be, alone', () => {
  assert.equal(readExpression(' global( ) ', true).ok, true);
  assert.equal(readExpression('global()').ok, false);
  assert.equal(readExpression('!global()', true).ok, false);
});

const key = fc.constantFrom('a', 'b', 'in', 'has', 'x.y/z');
const value = fc.constantFrom('', 'a', 'b', 'ab', "it's", 'say "a"');
const expression = fc.letrec<{ any: SelectorExpression }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.record({
      op: fc.constantFrom(
        '==' as const,
        '!=' as const,
        'contains' as const,
        'starts with' as const,
        'ends with' as const,
      ),
      key,
      value,
    }),
    fc.record({ op: fc.constant('has' as const), key }),
    fc.constant({ op: 'all' as const }),
    fc.record({
      op: fc.constantFrom('in' as const, 'not in' as const),
      key,
      values: fc.array(value, { maxLength: 3 }),
    }),
    fc.record({ op: fc.constant('not' as const), of: tie('any') }),
    fc.record({
      op: fc.constantFrom('and' as const, 'or' as const),
      of: fc.array(tie('any'), { minLength: 2, maxLength: 3 }),
    }),
  ),
})).any;
const labels = fc.dictionary(key, value, { maxKeys: 4 });

const quote = (text: string) => (text.includes('"') ? `'${text}'` : `"${text}"`);
function write(of: SelectorExpression): string {
  switch (of.op) {
    case 'all':
    case 'global':
      return `${of.op}()`;
    case 'has':
      return `has(${of.key})`;
    case 'in':
    case 'not in':
      return `${of.key} ${of.op} {${of.values.map(quote).join(',')}}`;
    case 'not':
      return `!(${write(of.of)})`;
    case 'and':
    case 'or':
      return of.of.map((each) => `(${write(each)})`).join(of.op === 'and' ? '&&' : ' || ');
    default:
      return `${of.key} ${of.op} ${quote(of.value)}`;
  }
}

/** The table of operators of the API reference, read again. */
function holds(of: SelectorExpression, own: Record<string, string>): boolean {
  const has = (name: string) => Object.keys(own).includes(name);
  if (of.op === 'all' || of.op === 'global') return true;
  if (of.op === 'has') return has(of.key);
  if (of.op === 'not') return !holds(of.of, own);
  if ('of' in of) {
    const count = of.of.filter((each) => holds(each, own)).length;
    return of.op === 'and' ? count === of.of.length : count > 0;
  }
  if ('values' in of) {
    const listed = has(of.key) && of.values.includes(own[of.key]!);
    return of.op === 'in' ? listed : !listed;
  }
  if (of.op === '!=') return !(has(of.key) && own[of.key] === of.value);
  if (!has(of.key)) return false;
  const found = own[of.key]!;
  if (of.op === 'contains') return found.indexOf(of.value) >= 0;
  if (of.op === 'starts with') return found.slice(0, of.value.length) === of.value;
  if (of.op === 'ends with') return of.value === '' || found.slice(-of.value.length) === of.value;
  return found === of.value;
}

test('any expression that is written is read back, and selects what it says', () => {
  fc.assert(
    fc.property(expression, labels, (drawn, own) => {
      assert.equal(selects(write(drawn), own), holds(drawn, own), write(drawn));
    }),
    { numRuns: 3000 },
  );
});

test('the canonical text is an expression too, and selects the same', () => {
  fc.assert(
    fc.property(expression, labels, (drawn, own) => {
      const parsed = parseCalicoSelector(write(drawn));
      assert.ok(parsed.ok);
      const { text } = parsed.selector;
      assert.equal(selects(text, own), holds(drawn, own), `${write(drawn)} → ${text}`);
      const again = parseCalicoSelector(text);
      assert.equal(again.ok && again.selector.text, text);
    }),
    { numRuns: 2000 },
  );
});

test('expressions that say the same in other words mostly have one text', () => {
  const text = (words: string) => {
    const parsed = parseCalicoSelector(words);
    return parsed.ok ? parsed.selector.text : parsed.message;
  };
  for (const [one, other] of [
    [`a == 'b'`, 'a in {"b"}'],
    ['!(a == "b")', 'a != "b"'],
    ['a not in {"c","b"}', '!(a in {"b", "c", "b"})'],
    ['has(a) && has(b)', '(has(b)) && has(a) && has(a)'],
    ['', 'all()'],
  ] as const)
    assert.equal(text(one), text(other));
});

test('any text is an expression or a complaint, whatever it is', () => {
  const piece = fc.constantFrom(
    'a',
    ' ',
    '==',
    '!=',
    '"b"',
    "'",
    '(',
    ')',
    '{',
    '}',
    ',',
    '!',
    '&&',
    '|',
    'has(',
    'all()',
    'global()',
    'in',
    'not',
    'starts',
    'with',
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 25 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (drawn) => {
      const parsed = parseSelectorExpression(drawn);
      if (!parsed.ok) assert.match(parsed.message, /^column \d+: ./);
    }),
    { numRuns: 3000 },
  );
});

test('a long expression is read all the same', () => {
  const terms = 20_000;
  const long = Array.from({ length: terms }, (_, i) => `l${i} == "${i}"`).join(' && ');
  assert.ok(!selects(long, { l0: '0' }));
  assert.ok(!selects('!'.repeat(100_001) + 'all()', {}));
});
