#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""minimal.cpp as firmware, -Os and libc alone: the symbols it names, where its memory lies, what it
costs, on x86-64 (gcc, clang) and 32-bit ARM."""
import pathlib
import sys
import tempfile

import forbidden
import report
import toolchain
from toolchain import ARMHF, CLANG, GCC

DATA_BYTES_MAX = 512  # vtable pointers and such; a table with a non-zero start would be far above


def grouped(sections):
    """text, rodata, data, bss in bytes."""
    groups = dict.fromkeys(('text', 'rodata', 'data', 'bss'), 0)
    for name, size in sections.items():
        # .data.rel.ro is constant once it is loaded, but it is memory, not flash.
        group = name.split('.')[1] if name.startswith('.') else ''
        if group in groups:
            groups[group] += size
    return groups


def cost(tools, minimal, empty):
    """What kshare adds to an empty program."""
    with_it = grouped(toolchain.sections(tools, minimal))
    without = grouped(toolchain.sections(tools, empty))
    return {group: with_it[group] - without[group] for group in with_it}


def check_symbols(out, tools, minimal):
    inside = toolchain.symbols(tools, f'{minimal}.o')
    linked = [entry for entry in toolchain.symbols(tools, minimal) if entry[0] in 'Uw']
    out.check(f'names no heap, exceptions, RTTI or libstdc++, {tools.name}',
              forbidden.among(inside + linked), f'{len(inside)} symbols')


def check_memory(out, tools, minimal, data_bytes):
    kinds = {name: kind for kind, name in toolchain.symbols(tools, f'{minimal}.o')}
    places = [kind for name, kind in kinds.items() if 'storage' in name and kind in 'bBdDrR']
    problems = [] if places and set(places) <= set('bB') else [f'Storage lies in {places}, not b']
    if data_bytes > DATA_BYTES_MAX:
        problems.append(f'{data_bytes} bytes of .data, at most {DATA_BYTES_MAX}')
    if any(name.startswith(('.init_array', '.ctors'))
           for name in toolchain.sections(tools, f'{minimal}.o')):
        problems.append('a static object is built at start-up, not at compile time')
    out.check(f'Storage is in .bss, .data is small, {tools.name}', problems,
              f'.data {data_bytes} bytes')


def check_values(out, tools):
    code, text = report.run([tools.cxx, '-std=c++17', '-fsyntax-only', f'-I{out.include}',
                             out.root / 'tests/promise/values.cpp'])
    out.check(f'trivial destructors, sizes, RAM of the presets, {tools.name}',
              [text] if code else [])


def check_toolchain(out, tools, directory):
    """All of it for one compiler; what kshare costs there, or None."""
    here = out.root / 'tests/promise'
    name = tools.name.replace(' ', '-')
    minimal, empty = directory / f'minimal-{name}', directory / f'empty-{name}'
    if not toolchain.present(tools):
        out.skip(f'minimal.cpp, {tools.name}', f'no {tools.cxx} (package {tools.package})')
        return None
    problems = toolchain.build(tools, out.root, here / 'minimal.cpp', minimal)
    problems += toolchain.build(tools, out.root, here / 'empty.cpp', empty)
    out.check(f'builds with libc alone, {tools.name}', problems)
    if problems:
        return None
    bytes_used = cost(tools, minimal, empty)
    check_symbols(out, tools, minimal)
    check_memory(out, tools, minimal, bytes_used['data'])
    check_values(out, tools)
    return bytes_used


def main():
    out = report.Report(__doc__)
    if not (out.include / 'kshare/consumer.hpp').exists():
        out.skip('minimal.cpp', 'no consumer.hpp')
        return out.finish()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for tools in [GCC, CLANG] if out.quick else [GCC, CLANG, ARMHF]:
            bytes_used = check_toolchain(out, tools, pathlib.Path(name))
            if bytes_used:
                rows.append((tools.name, bytes_used))
    print(f'      {"bytes, -Os, kTinyLimits":26}' +
          ''.join(f'{group:>10}' for group in ('text', 'rodata', 'data', 'bss')))
    for name, bytes_used in rows:
        print(f'      {name:26}' + ''.join(f'{size:10}' for size in bytes_used.values()))
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
