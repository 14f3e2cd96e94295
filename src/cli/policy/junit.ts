/** JUnit's XML, as CI systems read it. */
export interface JunitCase {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly failure: string | undefined;
  /** Lines for people below the failure. */
  readonly details?: string;
}

export function junit(suite: string, cases: readonly JunitCase[]): string {
  const failures = cases.filter(({ failure }) => failure !== undefined).length;
  const lines = cases.map(({ name, file, line, failure, details = '' }) => {
    const head = `<testcase name="${escape(name)}" classname="${escape(suite)}" file="${escape(file)}" line="${line}"`;
    if (failure === undefined) return `    ${head}/>`;
    return `    ${head}>\n      <failure message="${escape(failure)}">${escape(details)}</failure>\n    </testcase>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="${cases.length}" failures="${failures}">
  <testsuite name="${escape(suite)}" tests="${cases.length}" failures="${failures}">
${lines.join('\n')}
  </testsuite>
</testsuites>
`;
}

const escape = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    // XML 1.0 section 2.2 has no other control characters.
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD]/gu, '?');
