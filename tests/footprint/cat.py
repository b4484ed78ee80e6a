#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kshare_cat as one static file: with glibc and with musl, libc alone, stripped. What it weighs,
that it consumes, and that nothing but its Storage grows with it in memory.

    cat.py --minibroker PATH [--keep DIRECTORY]
"""
import itertools
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import sizes
import table
from broker import TIMEOUT_S, Broker
from sizes import Failed

import report
import toolchain

RECORDS, RECORD_BYTES = 20000, 1000
LATER = 100
# Of libstdc++: new and delete, exceptions, guards, RTTI.
CXX_NAME = re.compile(r'\b(?:_Zn[aw]|_Zd[al]|__cxa_(?:throw|guard|begin_catch)|_ZTI)\w*')
ABOVE_STORAGE_KIB_MAX = 1024
GLIBC_LINK = ['-static', '-Wl,--gc-sections', '-nodefaultlibs', '-Wl,--start-group', '-lc', '-lgcc',
              '-lgcc_eh', '-Wl,--end-group']  # glibc itself unwinds


def add_options(parser):
    parser.add_argument('--minibroker', type=pathlib.Path, help='the program kshare_minibroker')
    parser.add_argument('--keep', type=pathlib.Path, help='leaves the programs in this directory')


def build_glibc(root, directory):
    program = directory / 'kshare_cat-glibc'
    sizes.call('g++', *toolchain.DEVICE, f'-I{root}/include', root / 'examples/kshare_cat.cpp',
               '-o', program, '-no-pie', *GLIBC_LINK)
    return program


def build_musl(root, directory):
    """By the toolchain file, as a user would."""
    tree = directory / 'musl'
    sizes.call('cmake', '-S', root, '-B', tree, '-DKSHARE_TESTS=OFF',
               '-DCMAKE_BUILD_TYPE=MinSizeRel',
               f'-DCMAKE_TOOLCHAIN_FILE={root}/cmake/toolchains/musl.cmake')
    sizes.call('cmake', '--build', tree, '--target', 'kshare_cat')
    program = directory / 'kshare_cat-musl'
    shutil.copy(tree / 'examples/kshare_cat', program)
    return program


BUILDS = [('glibc', build_glibc, {'g++': 'g++'}),
          ('musl', build_musl, {'musl-gcc': 'musl-tools', 'cmake': 'cmake', 'g++': 'g++'})]


def check_readme(out, program):
    said = re.search(r'static file with musl [^,]*, (\d+) KiB',
                     ' '.join((out.root / 'README.md').read_text(encoding='utf-8').split()))
    now, then = program.stat().st_size, int(said[1]) * 1024 if said else 0
    out.check('README.md has the size of the file with musl',
              [f'{now / 1024:.0f} KiB, not {then // 1024}'] if table.is_off(now, then) else [])


def storage_bytes(program):
    """The size of its Storage, from the symbols; before it is stripped."""
    text = sizes.call('nm', '-S', '-C', program)
    found = re.search(r'^[0-9a-f]+ ([0-9a-f]+) [bB] \(anonymous namespace\)::storage$', text, re.M)
    if not found:
        raise Failed('its Storage is not to be found')
    return int(found[1], 16)


def check_alone(out, name, program):
    """One file, that asks for no other."""
    text = sizes.call('readelf', '-ld', program)
    problems = [line for line in text.splitlines() if 'INTERP' in line or 'NEEDED' in line]
    problems += CXX_NAME.findall(sizes.call('nm', program))
    sizes.call('strip', program)
    out.check(f'kshare_cat is one static file, {name}', problems,
              f'{program.stat().st_size:,} bytes, stripped')
    if name == 'musl':
        check_readme(out, program)


def memory(pid):
    """KiB that are resident, and of these its own, as the page tables have it. What it has once
    touched it never gives back, so this is its peak too."""
    text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='utf-8')
    values = {key: int(value) for key, value in re.findall(r'^(\w+):\s+(\d+) kB$', text, re.M)}
    return values['Rss'], values['Private_Dirty']


def read_lines(process, count):
    """So many lines of its output, or what came before it ended; which it does if it takes long."""
    watch = threading.Timer(TIMEOUT_S, process.kill)
    watch.start()
    lines = list(itertools.islice(process.stdout, count))
    watch.cancel()
    return lines


def consume(broker, program):
    """(problems, KiB that were resident, and of its own) of a kshare_cat that reads all, then what
    comes later, and is ended by SIGTERM."""
    with Broker(broker, '-t', 't:4', '-r', f't:{RECORDS}:{RECORD_BYTES}') as cluster:
        process = subprocess.Popen(
            [program, '-b', cluster.address, '-g', 'g', '-t', 't', '-f', '%p %o\\n'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            lines = read_lines(process, RECORDS)
            cluster.ask(f'append t 0 {LATER} {RECORD_BYTES}')
            lines += read_lines(process, LATER)
            resident, private = memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            _, words = process.communicate(timeout=TIMEOUT_S)
        problems = []
        if len(set(lines)) != RECORDS + LATER or len(lines) != len(set(lines)):
            problems.append(f'{len(lines)} lines, {len(set(lines))} different')
        if process.returncode != 0:
            problems.append(f'exit code {process.returncode}: {words.decode()}')
        states = [cluster.ask(f'state g t {partition}') for partition in range(4)]
        acknowledged = sum(int(state[2]) for state in states)
        if acknowledged != RECORDS + LATER:
            problems.append(f'{acknowledged} records acknowledged')
        if cluster.ask('violations') != ['0']:
            problems.append('the broker complains')
    return problems, resident, private


def check_consumes(out, name, program, storage):
    what = f'kshare_cat consumes and ends well, {name}'
    if not out.options.minibroker:
        out.skip(what, 'no --minibroker PATH')
        return
    try:
        problems, resident, private = consume(out.options.minibroker, program)
    except (OSError, LookupError, ValueError, subprocess.TimeoutExpired) as error:
        out.check(what, [error])
        return
    out.check(what, problems, f'{RECORDS + LATER:,} records')
    above = resident - storage // 1024
    out.check(f'resident at most {ABOVE_STORAGE_KIB_MAX} KiB above its Storage, {name}',
              [f'{resident} KiB, {above} above'] if above > ABOVE_STORAGE_KIB_MAX else [],
              f'{resident} KiB with its code, {private} written to; Storage (Default preset) has '
              f'{storage // 1024}')


def check_build(out, name, build, needs, directory):
    missing = [package for program, package in needs.items() if not shutil.which(program)]
    if missing:
        out.skip(f'kshare_cat, static, {name}', 'no package ' + ', '.join(missing))
        return
    try:
        program = build(out.root, directory)
        storage = storage_bytes(program)
        out.check(f'kshare_cat is built with libc alone, {name}', [])
        check_alone(out, name, program)
    except Failed as why:
        out.check(f'kshare_cat is built with libc alone, {name}', [why])
        return
    check_consumes(out, name, program, storage)


def main():
    out = report.Report(__doc__, add_options)
    with tempfile.TemporaryDirectory() as temporary:
        directory = out.options.keep or pathlib.Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for build in BUILDS:
            check_build(out, *build, directory)
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
