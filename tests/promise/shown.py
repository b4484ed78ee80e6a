#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the README says happens is shown by tests: each line of its list names some, and they
exist: titles of C++ test cases in quotes, names of live tests as code."""
import re
import sys

import report

SECTION = '## What happens when'
SHOWN_BY = '*Shown by*'
TITLE = re.compile(r'"([^"]+)"')
LIVE = re.compile(r'`(\w+)`')
TEXTS = r'(?:\s*"(?:\\.|[^"\\\n])*")+'
TEST_CASE = re.compile(r'\bTEST_CASE(?:_FIXTURE\(\s*\w+,|\()(' + TEXTS + r')')
LIVE_CASE = re.compile(r'^@case\((?:[^()]|\([^()]*\))*\)\ndef (\w+)\(', re.MULTILINE)
ROWS_MIN = 25  # fewer: the list is not read any more


def section(text):
    """The lines under the heading, to the next heading."""
    behind = text.partition(SECTION + '\n')[2]
    return re.split(r'^## ', behind, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """(what happens, what is said of it, the tests named behind it) of each item of the list."""
    for item in re.split(r'^- ', section(text), flags=re.MULTILINE)[1:]:
        words = ' '.join(item.split())
        said, _, tests = words.partition(SHOWN_BY)
        name = re.match(r'\*\*(.+?)\*\*', said)
        yield name[1] if name else said[:40], tests


def titles(root):
    """Of all C++ test cases."""
    found = set()
    for path in sorted((root / 'tests').rglob('*.cpp')):
        for texts in TEST_CASE.findall(path.read_text(encoding='utf-8')):
            found.add(''.join(re.findall(r'"((?:\\.|[^"\\])*)"', texts)))
    return found


def live_names(root):
    found = set()
    for path in sorted((root / 'tests/live').glob('cases_*.py')):
        found.update(LIVE_CASE.findall(path.read_text(encoding='utf-8')))
    return found


def main():
    out = report.Report(__doc__)
    readme = out.root / 'README.md'
    all_rows = list(rows(readme.read_text(encoding='utf-8'))) if readme.is_file() else []
    units, lives = titles(out.root), live_names(out.root)
    bare, lost, count = [], [], 0
    for name, tests in all_rows:
        named = [('unit', title) for title in TITLE.findall(tests)]
        named += [('live', case) for case in LIVE.findall(TITLE.sub('', tests))]
        count += len(named)
        if not named:
            bare.append(f'{name}: no test')
        lost += [f'{name}: no {kind} test {test!r}' for kind, test in named
                 if test not in (units if kind == 'unit' else lives)]
    if len(all_rows) < ROWS_MIN:
        bare.append(f'{len(all_rows)} lines under {SECTION!r} in {out.name(readme)}')
    out.check('each line of what happens when names a test', bare, f'{len(all_rows)} lines')
    out.check('the tests that the README names exist', lost, f'{count} tests')
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
