#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and runs every alloc_*.cpp, programs that count the heap calls of kshare while it works.
Each prints what it found and ends with 0 if there were none."""
import pathlib
import sys
import tempfile

import report
from toolchain import GCC, in_parallel

KSHARE_WRAP = ['-Wl,' + ','.join(f'--wrap={name}' for name in
                                 ('malloc', 'calloc', 'realloc', 'free'))]


def build_and_run(out, source, directory):
    """The problems, and the last line that the program printed."""
    program = directory / source.stem
    code, text = report.run(
        [GCC.cxx, '-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', f'-I{out.include}',
         f'-I{out.root}/tests', source, '-o', program, '-pthread', *KSHARE_WRAP])
    if code:
        return [text], ''
    code, text = report.run([program])
    last = text.strip().splitlines()[-1:] or ['']
    return ([text or f'exit code {code}'] if code else []), last[0]


def main():
    out = report.Report(__doc__)
    sources = sorted((out.root / 'tests/promise').glob('alloc_*.cpp'))
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        results = in_parallel(lambda source: build_and_run(out, source, directory), sources)
    for source, (problems, last) in zip(sources, results):
        out.check(f'heap calls counted: {source.stem}', problems, last)
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
