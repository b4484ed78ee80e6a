#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cmake/amalgamate.py: what it writes is the same everywhere, says what include/kshare says, and
goes together with it; a tree that cannot be made into one header is refused with a reason."""
import os
import pathlib
import re
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'promise'))
import report  # noqa: E402

SCRIPT = report.HOME / 'cmake/amalgamate.py'
ROOTS = ['kshare/kshare.hpp', 'kshare/net/posix.hpp', 'kshare/net/dns.hpp', 'kshare/net/trace.hpp']


def make(root, output, **settings):
    """The problems, and leaves the single header of `root` in `output`."""
    environment = [f'{name}={value}' for name, value in settings.pop('env', {}).items()]
    code, text = report.run(['env', '-C', settings.pop('cwd', '/'), *environment, sys.executable,
                             SCRIPT, '--root', root, output])
    return [text] if code else []


def check_stable(out, directory):
    """Another directory, locale, time zone, hash seed, and a tree whose files were made in another
    order."""
    first, second, tree = directory / 'first.hpp', directory / 'second.hpp', directory / 'tree'
    problems = make(out.root, first)
    for path in sorted(out.headers(), reverse=True):
        copy = tree / path.relative_to(out.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    settings = {'LC_ALL': 'C', 'TZ': 'Asia/Tokyo', 'PYTHONHASHSEED': '7', 'PYTHONUTF8': '0'}
    problems += make(tree, second, cwd=directory, env=settings)
    if not problems and first.read_bytes() != second.read_bytes():
        problems.append('the two differ')
    out.check('is the same, however it is made', problems)
    return first


def check_words(out, header):
    text = header.read_text(encoding='utf-8')
    problems = [f'line {text.count(chr(10), 0, m.start()) + 1}: {m[0]}' for m in
                re.finditer(r'\b20\d\d-\d\d-\d\d\b|/(home|root|tmp|work)/\S*|\r|[ \t]+$', text,
                            re.MULTILINE)]
    problems += [f'{name} is not in it' for name in
                 (path.relative_to(out.include).as_posix() for path in out.headers())
                 if text.count(f'// ---- {name}\n') != 1]
    if re.search(r'^\s*#\s*include\s*"', text, re.MULTILINE):
        problems.append('it includes a file of kshare')
    out.check('has every header once, no date, no path, no blanks at ends', problems,
              f'{len(text) // 1024} KiB')


def tokens(out, directory, source, words):
    """What the compiler sees, with every header of the system empty."""
    code, text = report.run(['g++', '-std=c++17', '-E', '-P', '-nostdinc', '-nostdinc++',
                             '-I', directory / 'system', *words, '-x', 'c++', '-'], source)
    return re.findall(r'\w+|\S', text) if code == 0 else [text]


def check_tokens(out, directory, header):
    for name in set(re.findall(r'#\s*include <([^>]+)>', header.read_text(encoding='utf-8'))):
        stub = directory / 'system' / name
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text('', encoding='utf-8')
    folder = ''.join(f'#include "{name}"\n' for name in ROOTS)
    by_folder = tokens(out, directory, folder, ['-I', out.include])
    single = f'#include "{header}"\n'
    by_single = tokens(out, directory, single, [])
    problems = [] if by_folder == by_single else ['the compiler sees something else']
    problems += [] if len(by_single) > 50000 else [f'only {len(by_single)} tokens']
    out.check('is to the compiler what the folder is', problems, f'{len(by_single)} tokens')
    both = tokens(out, directory, single + folder, ['-I', out.include])
    out.check('nothing is seen twice by who includes a header of the folder behind it',
              [] if both == by_single else [f'{len(both) - len(by_single)} tokens more'])
    reverse = tokens(out, directory, folder + single, ['-I', out.include])
    out.check('nor by who includes it behind the folder',
              [] if reverse == by_folder else [f'{len(reverse) - len(by_folder)} tokens more'])


def check_fixture(out, directory):
    made, expected = directory / 'made.hpp', HERE / 'fixture/expected.hpp'
    problems = make(HERE / 'fixture', made)
    if not problems and made.read_bytes() != expected.read_bytes():
        _, difference = report.run(['diff', '-u', expected, made])
        problems.append(difference)
    out.check('a small tree becomes the header that is expected', problems)


# What is done to the small tree: file, its text, and what the script says to it.
WRONG = [
    ('a file that nobody includes', 'base/lost.hpp', '#ifndef L_HPP\n#define L_HPP\n#endif\n',
     r'never included: kshare/base/lost\.hpp; include it where it is used'),
    ('a circle', 'base/low.hpp', '#ifndef B\n#define B\n#include "kshare/kshare.hpp"\n#endif\n',
     r'kshare/kshare\.hpp -> kshare/base/low\.hpp -> kshare/kshare\.hpp'),
    ('a file that is not there', 'base/low.hpp',
     '#ifndef B\n#define B\n#include "kshare/none.hpp"\n#endif\n',
     r'kshare/base/low\.hpp includes "kshare/none\.hpp", which does not exist'),
    ('a file by a second name', 'base/low.hpp',
     '#ifndef B\n#define B\n#include "kshare/base/../version.hpp"\n#endif\n',
     r'write it as "kshare/FOLDER/FILE\.hpp"'),
    ('two files with one guard', 'base/low.hpp',
     '#ifndef KSHARE_VERSION_HPP\n#define KSHARE_VERSION_HPP\n#endif\n',
     r'kshare/version\.hpp has the guard of kshare/base/low\.hpp'),
    ('no guard', 'base/low.hpp', 'namespace kshare {}\n', r'must begin with a guard'),
    ('a guard with two names', 'base/low.hpp', '#ifndef B\n#define C\n#endif\n',
     r'must begin with a guard'),
    ('#pragma once', 'base/low.hpp', '#pragma once\n', r'use #ifndef'),
    ('an include of kshare under a condition', 'base/low.hpp',
     '#ifndef B\n#define B\n#if A\n#include "kshare/version.hpp"\n#endif\n#endif\n',
     r'low\.hpp:4: "kshare/version\.hpp" under a condition; include it always'),
]


def check_refusals(out, directory):
    for i, (what, name, text, wanted) in enumerate(WRONG):
        tree = directory / f'wrong{i}'
        shutil.copytree(HERE / 'fixture', tree)
        (tree / 'include/kshare' / name).write_text(text, encoding='utf-8')
        said = ''.join(make(tree, directory / 'wrong.hpp'))
        problems = [] if re.search(wanted, said) else [f'says {said!r}, wanted {wanted!r}']
        if (directory / 'wrong.hpp').exists():
            problems.append('wrote something')
        out.check(f'refuses {what}', problems)


def main():
    out = report.Report(__doc__)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        header = check_stable(out, directory)
        if header.is_file():
            check_words(out, header)
            check_tokens(out, directory, header)
        check_fixture(out, directory)
        check_refusals(out, directory)
    return out.finish()


if __name__ == '__main__':
    os.environ.pop('PYTHONHASHSEED', None)
    sys.exit(main())
