#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the source reads: licence lines, guards, lengths, and words that break a promise."""
import re
import sys

import report
import source

COLUMNS_MAX = 100
HEADER_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LONG_DECODER = 'schema order'  # in the comment above a function: one switch, may be longer

# In include/ only. The word as it is found in code, and what is wrong with it.
BANNED = [
    (r'(?<![\w.>])(?:malloc|calloc|realloc|free|aligned_alloc|alloca|strdup)\s*\(', 'heap'),
    (r'(?<!<)\bnew\b(?!\s*\(static_cast<void\*>)', 'heap (placement: new (static_cast<void*>'),
    (r'(?<!=)(?<!= )\bdelete\b', 'heap'),
    (r'\b(?:throw|try|catch)\b', 'exceptions'),
    (r'\b(?:dynamic_cast|typeid)\b', 'RTTI'),
    (r'\bstd::(?:thread|mutex|async|string|vector|function|unique_ptr|shared_ptr)\b', 'heap'),
    (r'\bthread_local\b', 'one thread, no hidden state'),
    (r'\b\w*printf\s*\(|\b(?:puts|putchar|fputs)\s*\(', 'printf is a lot of code'),
    (r'\.\s*(?:substr\s*\(|at\s*\(\s*[^)\s])', 'string_view::substr, at: libstdc++ throws'),
    (r'\busing\s+namespace\b', 'leaks into every user'),
    (r'\bnamespace\s*\{', 'an unnamed namespace in a header breaks the one-definition rule'),
]
UNFINISHED = re.compile(r'\b(?:TO' r'DO|FIX' r'ME|X' r'XX)\b')
SOURCE_FOLDERS = ('include', 'tests', 'examples', 'cmake', '.ci')


def sources(root):
    top = [root / 'CMakeLists.txt', root / 'meson.build']
    inside = [path for folder in SOURCE_FOLDERS for path in (root / folder).rglob('*')]
    return sorted(path for path in top + inside if path.is_file() and report.is_source(path))


def guard_problems(out, path, lines):
    guard = re.sub(r'[^A-Z0-9]', '_', str(path.relative_to(out.include)).upper())
    code = [line for line in lines if line.strip() and not line.startswith('//')]
    wanted = [f'#ifndef {guard}', f'#define {guard}', f'#endif  // {guard}']
    found = code[:2] + code[-1:]
    return [] if found == wanted else [f'{out.name(path)}: the guard is not {guard}, front to end']


def function_problems(where, scan):
    return [f'{where}:{f.first}: {f.name}() has {f.last - f.first + 1} lines'
            for f in scan.functions
            if f.last - f.first + 1 > FUNCTION_LINES_MAX and LONG_DECODER not in f.comment]


def state_problems(where, scan):
    """Objects that outlive a call: only constants may."""
    problems = []
    for f in scan.functions:
        start, body = f.body
        for m in re.finditer(r'\bstatic\b(?!\s+constexpr\b)', body):
            problems.append(f'{where}:{scan.line(start + m.start())}: static object in {f.name}()')
    for v in scan.variables:
        if re.match(r'(using|typedef|friend|template|namespace|static_assert|extern)\b', v.text):
            continue
        is_function = '(' in v.text.split('=')[0].split('{')[0]
        if v.scope == 'namespace' and re.match(r'static\b', v.text):
            problems.append(f'{where}:{v.line}: static at namespace scope: write inline')
        elif 'constexpr' in v.text or is_function:
            continue
        elif v.scope == 'namespace' and re.match(r'(inline|const)\b', v.text):
            problems.append(f'{where}:{v.line}: a global that is no constant: {v.text}')
        elif v.scope == 'class' and re.search(r'\bstatic\b', v.text):
            problems.append(f'{where}:{v.line}: a global that is no constant: {v.text}')
    for f in scan.functions:
        head = scan.code.splitlines()[f.first - 1]
        if head.startswith('static '):
            problems.append(f'{where}:{f.first}: static at namespace scope: write inline')
    return problems


def word_problems(where, code):
    problems = []
    for pattern, why in BANNED:
        for m in re.finditer(pattern, code):
            line = code.count('\n', 0, m.start()) + 1
            problems.append(f'{where}:{line}: {m[0].strip()}: {why}')
    for m in re.finditer(r'^[ \t]*#[ \t]*define[ \t]+(?!KSHARE_)(\w+)', code, re.MULTILINE):
        problems.append(f'{where}:{code.count(chr(10), 0, m.start()) + 1}: macro {m[1]}')
    return problems


def check_headers(out):
    guards, openings, lengths, functions, state, words = [], [], [], [], [], []
    count = 0
    for path in out.headers():
        text = path.read_text(encoding='utf-8')
        lines, where = text.splitlines(), out.name(path)
        guards += guard_problems(out, path, lines)
        if len(lines) < 2 or not lines[1].startswith('// What:'):
            openings.append(f'{where}:2: does not begin with // What:')
        if len(lines) > HEADER_LINES_MAX:
            lengths.append(f'{where}: {len(lines)} lines')
        scan = source.Scan(text)
        count += len(scan.functions)
        functions += function_problems(where, scan)
        state += state_problems(where, scan)
        words += word_problems(where, source.code_only(text))
    out.check('guards are named after the path', guards, f'{len(out.headers())} headers')
    out.check('every header says what it is in its second line', openings)
    out.check(f'headers have at most {HEADER_LINES_MAX} lines', lengths)
    out.check(f'functions have at most {FUNCTION_LINES_MAX} lines', functions,
              f'{count} functions')
    out.check('no object outlives a call', state)
    out.check('no heap, exception, RTTI or printf in include/', words)


def main():
    out = report.Report(__doc__)
    check_headers(out)
    licence, columns, unfinished = [], [], []
    files = sources(out.root)
    for path in files:
        lines, where = path.read_text(encoding='utf-8').splitlines(), out.name(path)
        if not any('SPDX-License-Identifier: Apache-2.0' in line for line in lines[:3]):
            licence.append(where)
        columns += [f'{where}:{i}: {len(line)} columns' for i, line in enumerate(lines, 1)
                    if len(line) > COLUMNS_MAX]
        unfinished += [f'{where}:{i}' for i, line in enumerate(lines, 1)
                       if UNFINISHED.search(line)]
    out.check('every source file names its licence', licence, f'{len(files)} files')
    out.check(f'lines have at most {COLUMNS_MAX} columns', columns)
    out.check('nothing is marked as unfinished', unfinished)
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
