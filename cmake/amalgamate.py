#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the single header out of include/kshare:

    python3 cmake/amalgamate.py kshare.hpp

The portable part comes first, then what needs Linux, then TLS behind KSHARE_WITH_MBEDTLS. The
result depends on the files of include/kshare and on nothing else: no date, no path, no machine.
"""
import argparse
import collections
import pathlib
import re
import sys

Part = collections.namedtuple('Part', 'title condition optional roots')
# A header belongs to the first part that reaches it.
PARTS = [
    Part('portable', None, False, ['kshare/kshare.hpp']),
    Part('Linux: sockets, clock, entropy, names', 'defined(__linux__)', False,
         ['kshare/net/posix.hpp', 'kshare/net/dns.hpp', 'kshare/net/trace.hpp']),
    Part('TLS by mbedtls', 'defined(KSHARE_WITH_MBEDTLS)', True, ['kshare/net/mbedtls.hpp']),
]

DIRECTIVE = re.compile(r'\s*#\s*(\w+)\s*(.*?)\s*$')
LICENCE = '// SPDX-License-Identifier: Apache-2.0'


class Wrong(Exception):
    """What is wrong with the tree, and what to do."""


class Header:
    """One file: its text without guard-level includes, and what it included."""

    def __init__(self, name, text):
        self.name = name
        self.own = []     # "kshare/..." includes, in order
        self.system = []  # <...> includes
        self.lines = []
        self.guard = self._read(text.splitlines())

    def _read(self, lines):
        depth, guard, define = 0, None, None
        for number, line in enumerate(lines, 1):
            if line == LICENCE:
                continue
            found = DIRECTIVE.match(line)
            word, rest = found.groups() if found else (None, '')
            if word in ('if', 'ifdef', 'ifndef'):
                depth += 1
                if guard is None:
                    guard = rest if word == 'ifndef' else ''
            elif word == 'endif':
                depth -= 1
            elif word == 'define' and define is None:
                define = rest
            elif word == 'include' and self._include(rest, depth, number):
                continue
            elif word == 'pragma' and rest.startswith('once'):
                raise Wrong(f'{self.name}: #pragma once cannot see that the single header has been '
                            'included already; use #ifndef')
            self.lines.append(line)
        if not guard or guard != define:
            raise Wrong(f'{self.name}: must begin with a guard: #ifndef NAME, then #define NAME')
        return guard

    def _include(self, what, depth, number):
        """Notes an include that moves elsewhere; False for one that stays."""
        name = re.split(r'\s*//', what)[0].strip()
        if name.startswith('<'):
            if depth == 1:
                self.system.append(name)
            return depth == 1  # under a condition: it stays where it is
        if depth != 1:
            raise Wrong(f'{self.name}:{number}: {name} under a condition; include it always, or '
                        'make a part of its own for it in cmake/amalgamate.py')
        self.own.append(name.strip('"'))
        return True


class Tree:
    def __init__(self, include):
        self.include = include
        self.done = {}    # name -> Header, of all that was reached
        self.guards = {}  # guard -> name

    def reach(self, name, why, chain=()):
        """Headers not reached before, what they include first."""
        if name in chain:
            raise Wrong('includes go round in a circle: ' + ' -> '.join([*chain, name]))
        if name in self.done:
            return []
        path = self.include / name
        if not name.startswith('kshare/') or '/../' in name or '/./' in name:
            raise Wrong(f'{why} includes "{name}"; write it as "kshare/FOLDER/FILE.hpp", so that '
                        'no file is reached by two names')
        if not path.is_file():
            raise Wrong(f'{why} includes "{name}", which does not exist')
        header = Header(name, path.read_text(encoding='utf-8'))
        other = self.guards.setdefault(header.guard, name)
        if other != name:
            raise Wrong(f'{name} has the guard of {other} ({header.guard}) and would be left out; '
                        'name the guard after the file')
        found = []
        for own in header.own:
            found += self.reach(own, name, (*chain, name))
        self.done[name] = header
        return [*found, header]

    def unreached(self):
        every = {path.relative_to(self.include).as_posix() for path in self.include.rglob('*.hpp')}
        return sorted(every - set(self.done))


def blank_lines_joined(lines):
    """Where includes went, blank lines are left over."""
    return [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]


def amalgamated(tree):
    version = re.search(r'#define KSHARE_VERSION "([^"]+)"',
                        (tree.include / 'kshare/version.hpp').read_text(encoding='utf-8'))
    if not version:
        raise Wrong('kshare/version.hpp does not define KSHARE_VERSION')
    out = [LICENCE,
           f'// kshare {version[1]} as a single header, made by cmake/amalgamate.py: change the'
           ' files of',
           '// include/kshare instead. Begin to read at kshare/kshare.hpp and kshare/consumer.hpp'
           ' below.',
           '#ifndef KSHARE_SINGLE_HEADER_HPP', '#define KSHARE_SINGLE_HEADER_HPP']
    seen = set()
    for part in PARTS:
        roots = [name for name in part.roots
                 if not part.optional or (tree.include / name).is_file()]
        headers = [header for name in roots for header in tree.reach(name, 'cmake/amalgamate.py')]
        if headers:
            out += part_text(part, headers, seen)
    if tree.unreached():
        raise Wrong('never included: ' + ', '.join(tree.unreached()) + '; include it where it is '
                    'used, add it to PARTS in cmake/amalgamate.py, or delete it')
    out += ['', '#endif  // KSHARE_SINGLE_HEADER_HPP']
    return '\n'.join(out) + '\n'


def part_text(part, headers, seen):
    system = sorted({name for header in headers for name in header.system} - seen)
    if not part.condition:
        seen.update(system)  # includes under a condition may be wanted again
    out = ['', f'// ==== {part.title}']
    if part.condition:
        out.append(f'#if {part.condition}')
    out += ['', *(f'#include {name}' for name in system)]
    for header in headers:
        out += ['', f'// ---- {header.name}', *blank_lines_joined(header.lines)]
    if part.condition:
        out += ['', f'#endif  // {part.condition}']
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('output', type=pathlib.Path)
    parser.add_argument('--root', type=pathlib.Path, help='the tree that has include/kshare',
                        default=pathlib.Path(__file__).resolve().parents[1])
    parser.add_argument('--depfile', type=pathlib.Path, help='for build tools: what was read')
    options = parser.parse_args()
    tree = Tree(options.root / 'include')
    try:
        text = amalgamated(tree)
    except Wrong as wrong:
        print(f'amalgamate: {wrong}', file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(text.encode('utf-8'))
    if options.depfile:
        read = ' '.join(str(tree.include / name).replace(' ', '\\ ') for name in sorted(tree.done))
        options.depfile.write_text(f'{options.output}: {read}\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
