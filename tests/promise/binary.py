#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""minimal.cpp as firmware, -Os and libc alone: the symbols it names and where its memory lies, on
x86-64 (gcc, clang) and 32-bit ARM. What it costs is told by tests/footprint/run.py."""
import pathlib
import sys
import tempfile

import forbidden
import report
import toolchain
from toolchain import ARMHF, CLANG, GCC

DATA_BYTES_MAX = 512  # vtable pointers and such; a table with a non-zero start would be far above


def data_bytes(sections):
    """What is copied from flash to RAM before main()."""
    return sum(size for name, size in sections.items()
               if name.startswith('.data') and not name.startswith('.data.rel.ro'))


def check_symbols(out, tools, minimal):
    inside = toolchain.symbols(tools, f'{minimal}.o')
    linked = [entry for entry in toolchain.symbols(tools, minimal) if entry[0] in 'Uw']
    out.check(f'names no heap, exceptions, RTTI or libstdc++, {tools.name}',
              forbidden.among(inside + linked), f'{len(inside)} symbols')


def check_memory(out, tools, minimal):
    sections = toolchain.sections(tools, f'{minimal}.o')
    kinds = {name: kind for kind, name in toolchain.symbols(tools, f'{minimal}.o')}
    places = [kind for name, kind in kinds.items() if 'storage' in name and kind in 'bBdDrR']
    problems = [] if places and set(places) <= set('bB') else [f'Storage lies in {places}, not b']
    if data_bytes(sections) > DATA_BYTES_MAX:
        problems.append(f'{data_bytes(sections)} bytes of .data, at most {DATA_BYTES_MAX}')
    if any(name.startswith(('.init_array', '.ctors')) for name in sections):
        problems.append('a static object is built at start-up, not at compile time')
    out.check(f'Storage is in .bss, .data is small, {tools.name}', problems,
              f'.data {data_bytes(sections)} bytes')


def check_values(out, tools):
    code, text = report.run([tools.cxx, '-std=c++17', '-fsyntax-only', f'-I{out.include}',
                             out.root / 'tests/promise/values.cpp'])
    out.check(f'trivial destructors, sizes, RAM of the presets, {tools.name}',
              [text] if code else [])


def check_toolchain(out, tools, directory):
    """All of it for one compiler."""
    minimal = directory / f'minimal-{tools.name.replace(" ", "-")}'
    if not toolchain.present(tools):
        out.skip(f'minimal.cpp, {tools.name}', f'no {tools.cxx} (package {tools.package})')
        return
    problems = toolchain.build(tools, out.root, out.root / 'tests/promise/minimal.cpp', minimal)
    out.check(f'builds with libc alone, {tools.name}', problems)
    if problems:
        return
    check_symbols(out, tools, minimal)
    check_memory(out, tools, minimal)
    check_values(out, tools)


def main():
    out = report.Report(__doc__)
    if not (out.include / 'kshare/consumer.hpp').exists():
        out.skip('minimal.cpp', 'no consumer.hpp')
        return out.finish()
    with tempfile.TemporaryDirectory() as name:
        for tools in [GCC, CLANG] if out.quick else [GCC, CLANG, ARMHF]:
            check_toolchain(out, tools, pathlib.Path(name))
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
