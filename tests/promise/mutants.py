#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bugs of tests/mutants can still be made: each patch says what is wrong and which tests ought
to tell, and what it changes stands in include/ word for word, at one place."""
import re
import sys

import report

TESTS = '# tests: '
SENTENCE = re.compile(r'# [A-Z].*\.')
HUNK = re.compile(r'@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@')


def comment_problems(root, lines):
    if not lines or not SENTENCE.fullmatch(lines[0]):
        yield 'does not begin with a sentence'
    tests = [test for line in lines if line.startswith(TESTS)
             for test in line.removeprefix(TESTS).split()]
    if not tests:
        yield 'names no tests'
    for test in tests:
        if not (root / 'tests/unit' / f'{test}.cpp').is_file():
            yield f'no tests/unit/{test}.cpp'


def hunks(lines):
    """(file, lines, None) of each hunk, or what is wrong with the patch."""
    file, at = '', 0
    while at < len(lines):
        line, at = lines[at], at + 1
        head = HUNK.match(line)
        if not head:
            if line.startswith('--- a/'):
                file = line.removeprefix('--- a/')
            elif not line.startswith(('+++ b/', '# ')):
                yield file, [], f'{line!r} belongs to no hunk'
            continue
        begin, old, new = at, *(int(count or 1) for count in head.groups())
        while at < len(lines) and (old > 0 or new > 0):
            old -= lines[at][:1] != '+'
            new -= lines[at][:1] != '-'
            at += 1
        yield file, lines[begin:at], 'a hunk has fewer lines than it says' if old or new else None


def is_lopsided(hunk):
    """patch looks for such a one at the file's beginning or end only."""
    signs = ''.join(line[:1] for line in hunk)
    return len(signs) - len(signs.lstrip(' ')) != len(signs) - len(signs.rstrip(' '))


def hunk_problems(root, lines, texts):
    """texts: the lines of each file, so that it is read once."""
    some = False
    for file, hunk, wrong in hunks(lines):
        some = True
        if wrong or is_lopsided(hunk):
            yield wrong or f'{file}: not as many lines before the change as behind it'
            continue
        path = root / file
        if not file.startswith('include/') or not path.is_file():
            yield f'no file {file!r} in include/'
            continue
        if file not in texts:
            texts[file] = path.read_text(encoding='utf-8').splitlines()
        text, old = texts[file], [line[1:] for line in hunk if line[:1] != '+']
        places = sum(text[i:i + len(old)] == old for i in range(len(text)))
        if places != 1:
            yield f'what it changes is at {places} places in {file}: {old[:2]}'
    if not some:
        yield 'changes nothing'


def main():
    out = report.Report(__doc__)
    patches = sorted((out.root / 'tests/mutants').glob('*.patch'))
    unsaid, strange, texts = [], [], {}
    for patch in patches:
        lines = patch.read_text(encoding='utf-8').splitlines()
        unsaid += [f'{patch.name}: {why}' for why in comment_problems(out.root, lines)]
        strange += [f'{patch.name}: {why}' for why in hunk_problems(out.root, lines, texts)]
    if not patches:
        strange.append('no patch in tests/mutants')
    out.check('each mutant says what is wrong, and which tests there are to tell', unsaid,
              f'{len(patches)} mutants')
    out.check('each mutant applies to include/', strange, f'{len(texts)} files')
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
