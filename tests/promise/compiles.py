#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone and twice, in C++17 and C++20, with gcc and clang, without a warning;
two units that include everything link; what no caller reaches is clean too."""
import pathlib
import sys
import tempfile

import forbidden
import report
import toolchain
from toolchain import CLANG, GCC


def tls_missing(out):
    """The TLS adapter compiles only where mbedtls is installed."""
    code, _ = report.run([GCC.cxx, '-fsyntax-only', '-x', 'c++', '-'],
                         '#include <mbedtls/version.h>')
    return (out.include / toolchain.TLS_HEADERS).exists() and code != 0


def check_alone(out, tools, standard, headers):
    what = f'each header alone, {tools.name}, C++{standard}'
    if not toolchain.present(tools):
        out.skip(what, f'no {tools.cxx} (package {tools.package})')
        return
    command = [tools.cxx, f'-std=c++{standard}', '-fsyntax-only', *toolchain.NO_RUNTIME,
               *toolchain.warnings(tools), f'-I{out.include}', '-x', 'c++', '-']

    def compile_twice(header):
        line = f'#include "{header}"\n'
        return report.run(command, line + line)
    problems = []
    for header, (code, text) in zip(headers, toolchain.in_parallel(compile_twice, headers)):
        errors = [line for line in text.splitlines() if ' error: ' in line]
        problems += errors or ([f'{header}: {text}'] if code else [])
    # An error deep down shows in every header above it: once is enough.
    out.check(what, list(dict.fromkeys(problems)), f'{len(headers)} headers')


def check_two_units(out, tools, headers, directory):
    what = f'two units that include everything link, {tools.name}'
    if not toolchain.present(tools):
        out.skip(what, f'no {tools.cxx} (package {tools.package})')
        return
    includes = ''.join(f'#include "{header}"\n' for header in headers)
    units = [directory / 'one.cpp', directory / 'two.cpp']
    units[0].write_text(includes + 'int main() { return 0; }\n')
    units[1].write_text(includes)
    code, text = report.run([tools.cxx, '-std=c++17', f'-I{out.include}', *units, '-o',
                             directory / 'two'])
    out.check(what, [text] if code else [])


def check_every_function(out, headers, directory):
    """Also what minimal.cpp never calls: gcc emits every inline function and looks at its flow."""
    includes = ''.join(f'#include "{header}"\n' for header in headers)
    unit = directory / 'all.o'
    command = [GCC.cxx, '-std=c++17', '-fkeep-inline-functions', *toolchain.NO_RUNTIME,
               f'-I{out.include}', '-x', 'c++', '-c', '-', '-o']
    (warned, warnings), (code, text) = toolchain.in_parallel(
        lambda flags: report.run(command + flags, includes),
        [[directory / 'warned.o', '-O2', *toolchain.warnings(GCC)],
         [unit, '-Os', '-ffunction-sections']])
    out.check('every function at -O2 without a warning', [warnings] if warned else [])
    names = {} if code else toolchain.reached_names(unit, 'kshare')
    bad = [] if code else forbidden.among(toolchain.symbols(GCC, unit))
    problems = [f'{function} needs {", ".join(named & set(bad))}'
                for function, named in names.items() if named & set(bad)]
    out.check('no function, called or not, needs heap, exceptions or libstdc++',
              [text] if code else problems, f'{len(names)} functions')


def main():
    out = report.Report(__doc__)
    headers = [str(path.relative_to(out.include)) for path in out.headers()]
    if tls_missing(out):
        out.skip(f'{toolchain.TLS_HEADERS} alone', 'no mbedtls (package libmbedtls-dev)')
        headers.remove(toolchain.TLS_HEADERS)
    pairs = [(GCC, 17), (GCC, 20), (CLANG, 17), (CLANG, 20)]
    for tools, standard in pairs[:1] if out.quick else pairs:
        check_alone(out, tools, standard, headers)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        check_every_function(out, headers, directory)
        if not out.quick:
            check_two_units(out, GCC, headers, directory)
            check_two_units(out, CLANG, headers, directory)
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
