#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gcc and clang as they are called without a number, the oldest and the newest installed: all
headers, and kshare_cat, which then takes records from the mini broker (--broker PATH:
kshare_minibroker), in C++17, 20 and 23."""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'examples'), str(HERE.parent / 'promise')]
import report  # noqa: E402
import toolchain  # noqa: E402
from run import Broker, Programs  # noqa: E402

STANDARDS = ['c++17', 'c++20', 'c++2b']  # compilers older than C++23 call it 2b
FAMILIES = {'g++': toolchain.GCC, 'clang++': toolchain.CLANG}


def found(family):
    """Its oldest, its newest and the one without a number, by version."""
    programs = {}
    for directory in ('/usr/bin', '/usr/local/bin'):
        for path in pathlib.Path(directory).glob(f'{family}-[0-9]*'):
            if re.fullmatch(r'\d+', path.name.rpartition('-')[2]):
                programs[int(path.name.rpartition('-')[2])] = path.name
    wanted = sorted(programs)[:1] + sorted(programs)[-1:]
    code, text = report.run([family, '-dumpversion'])
    if code == 0:
        usual = int(text.split('.')[0])
        programs[usual] = family
        wanted.append(usual)
    return {number: FAMILIES[family]._replace(name=programs[number], cxx=programs[number])
            for number in wanted}


def warnings(tools):
    """Those of ours that this compiler knows."""
    family = toolchain.CLANG if 'clang' in tools.cxx else toolchain.GCC
    return toolchain.warnings(family)


def check_compiles(out, tools, directory):
    everything = directory / 'everything.cpp'
    everything.write_text(''.join(f'#include "{path.relative_to(out.include)}"\n'
                                  for path in out.headers()), encoding='utf-8')
    sources = [everything, out.root / 'examples/kshare_cat.cpp']

    def compile_one(job):
        standard, source = job
        return report.run([tools.cxx, f'-std={standard}', '-O2', *toolchain.NO_RUNTIME,
                           *warnings(tools), f'-I{out.include}', '-c', source, '-o',
                           directory / f'{standard}-{source.stem}.o'])
    jobs = [(standard, source) for standard in STANDARDS for source in sources]
    problems = [text for code, text in toolchain.in_parallel(compile_one, jobs) if code]
    out.check(f'{tools.cxx}: all headers and kshare_cat in {", ".join(STANDARDS)}', problems)
    return not problems


def check_runs(out, tools, directory, broker):
    program = directory / 'kshare_cat'
    code, text = report.run([tools.cxx, directory / 'c++17-kshare_cat.o', '-o', program,
                             '-nodefaultlibs', '-lc', '-lgcc'])
    problems = [text] if code else []
    if not problems:
        with Broker(Programs(directory, broker)) as at:
            at.topic('t', count=100)
            done = subprocess.run([program, *at.cat('-c', '100')], timeout=30,
                                  stdout=subprocess.PIPE, check=False)
            lines = done.stdout.splitlines()
        if done.returncode or len(lines) != 100:
            problems.append(f'exit code {done.returncode}, {len(lines)} of 100 records')
    out.check(f'{tools.cxx}: kshare_cat takes records', problems)


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--broker', type=pathlib.Path, required=True)
    options, sys.argv[1:] = parser.parse_known_args()
    out = report.Report(__doc__)
    for family in FAMILIES:
        compilers = found(family)
        if len(compilers) < 2:
            out.skip(f'oldest and newest {family}', f'only {[*compilers]} installed')
        for tools in compilers.values():
            with tempfile.TemporaryDirectory() as name:
                if check_compiles(out, tools, pathlib.Path(name)):
                    check_runs(out, tools, pathlib.Path(name), options.broker.resolve())
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
