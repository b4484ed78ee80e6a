#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What kshare costs: code, stack and RAM, target by target. The figures are compared with the
tables of README.md, and some have limits of their own.

    run.py                    measures and compares; a figure that is off by 3 % fails
    run.py --write            writes the tables
    run.py --largest 25 --target armhf     the largest functions of the smallest consumer
"""
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import textwrap

import sizes
import stack
import table
from broker import TIMEOUT_S, Broker
from sizes import TARGETS, Failed

import report
import toolchain

FEATURES = [
    ('NAMES', 'names (`posix::Dns`)'),
    ('PROPERTIES', 'options by name (`set()`)'),
    ('STATUS_TEXTS', 'words for a status (`describe()`)'),
    ('EVENT_TEXTS', 'words for events (`format()`), a status among them'),
    ('WIRE_TRACE', 'trace of requests and answers (`TracePool`)'),
    ('STATE_TRACE', 'trace of states (`Options::trace`, `format()`)'),
    ('EXPLICIT_ACKS', '`acknowledge()`, renewals among them'),
    ('COMMIT', '`posix::commit_sync()`'),
    ('INSPECT', '`member()`, `link()`, `assignment()`'),
]
MINIMAL = 'smallest consumer: code and constants'
ENTRIES = ['poll', 'next', 'start', 'wait']  # and the deepest of the others:
OTHERS = ['constructor', 'subscribe', 'acknowledge', 'commit', 'close']
PRESETS = ['Tiny', 'Small', 'Default', 'Large']
RAM_TARGETS = ['x86-64', 'armhf']  # 64 and 32 bit
RAM_PARTS = 'Storage'  # the row behind its parts
QUICK_TARGETS = ['x86-64', 'armhf']

FLASH_BYTES_MAX = ('armhf', 49152)
STACK_BYTES_MAX = 4096
TINY_BYTES_MAX = 16384
PADDING_BYTES_MAX = 64  # between the parts of a Storage
LIBRARY_STACK_BYTES = 256  # what libc may need below us: painted stack against counted stack
PAINTED_RECORDS = 2000
LARGEST = 25


def add_options(parser):
    parser.add_argument('--write', action='store_true', help='writes the tables of README.md')
    parser.add_argument('--largest', type=int, metavar='N', help='prints the N largest functions')
    parser.add_argument('--target', choices=[target.name for target in TARGETS])
    parser.add_argument('--minibroker', type=pathlib.Path,
                        help='kshare_minibroker, to measure the stack of a running consumer')


def chosen_targets(out):
    """Those whose compiler is here."""
    targets = []
    for target in TARGETS:
        if out.options.target not in (None, target.name):
            continue
        if out.quick and target.name not in QUICK_TARGETS:
            continue
        if toolchain.present(target):
            targets.append(target)
        else:
            out.skip(target.name, f'no {target.cxx} (package {target.package})')
    return targets


def attempt(function, *arguments):
    """What it answers, and why it could not: one of the two is empty."""
    try:
        return function(*arguments), []
    except Failed as why:
        return None, [why]


def show(*lines):
    for line in lines:
        print(f'      {line:.92}', flush=True)


def compiler(target):
    return 'gcc ' + sizes.call(target.cxx, '-dumpversion').strip().split('.')[0]


# ---- Code.

def measure_code(out, targets, directory, rows):
    """The rows of minimal.cpp and of each feature; what was kept of minimal.cpp, by target."""
    macros = [''] + ([] if out.quick else [f'KSHARE_WITH_{name}' for name, _ in FEATURES])
    jobs = [(target, macro) for target in targets for macro in macros]
    done = toolchain.in_parallel(
        lambda job: attempt(sizes.measure, job[0], out.root, directory, job[1]), jobs)
    kept = {(target.name, macro): found for (target, macro), (found, _) in zip(jobs, done)}
    for target in targets:
        problems = [why for (of, _), (_, why) in zip(jobs, done) if of is target for why in why]
        out.check(f'minimal.cpp and its features link with libc alone, {target.name}', problems,
                  f'{len(macros)} programs')
        minimal = kept[target.name, '']
        if problems:
            continue
        rows.put(MINIMAL, target.name, minimal.flash)
        for group in ('data', 'bss'):
            rows.put(f'its .{group}', target.name, minimal.bytes[group])
        for name, label in [] if out.quick else FEATURES:
            more = kept[target.name, f'KSHARE_WITH_{name}'].flash - minimal.flash
            rows.put(f'+ {label}', target.name, more)
    return {target.name: kept[target.name, ''] for target in targets}


def check_flash(out, kept):
    name, limit = FLASH_BYTES_MAX
    if kept.get(name) is None:
        return
    flash = kept[name].flash
    problems = [f'{flash:,} bytes, {flash - limit:,} too many'] if flash > limit else []
    out.check(f'code and constants of minimal.cpp: at most {limit:,} bytes, {name}', problems,
              f'{flash:,}')
    if problems:
        show(f'its {LARGEST} largest functions:', *sizes.largest(kept[name], LARGEST))


# ---- Stack.

def measure_stack(target, root, directory, names):
    """The graph of stack.cpp, with the resolver or without, and its object file."""
    unit = directory / f'stack-{target.name}{"-names" if names else ""}.o'
    stack.compile_unit(target, root, 'tests/footprint/stack.cpp', unit,
                       *(['-DKSHARE_WITH_NAMES'] if names else []))
    graph = stack.Graph(target, unit)
    depths = {entry: graph.deepest(f'stack_{entry}') for entry in [*ENTRIES, *OTHERS, 'loop']}
    return unit, depths, graph.library('stack_loop')


def check_stack(out, targets, directory, rows):
    """The rows of the stack; what measure_stack() has found, by target."""
    jobs = [(target, names) for target in targets for names in (False, True)]
    done = toolchain.in_parallel(
        lambda job: attempt(measure_stack, job[0], out.root, directory, job[1]), jobs)
    found = {}
    for (target, names), (result, problems) in zip(jobs, done):
        with_names = ' with names' if names else ''
        what = f'stack below poll(){with_names}: at most {STACK_BYTES_MAX:,} bytes, {target.name}'
        if not result:
            out.check(what, problems)
            continue
        _, depths, _ = found[target.name, names] = result
        deep, path = depths['poll']
        too_deep = deep > STACK_BYTES_MAX
        out.check(what, [f'{deep:,} bytes'] if too_deep else [], f'{deep:,}')
        if too_deep:
            show(*stack.shown(path))
        if names:
            rows.put('stack below `poll()`, with names', target.name, deep)
            continue
        for entry in ENTRIES:
            rows.put(f'stack below `{entry}()`', target.name, depths[entry][0])
        rows.put('stack below a constructor, subscribe, acknowledge, commit, close', target.name,
                 max(depths[e][0] for e in OTHERS))
    show_deepest(found)
    return found


def show_deepest(found):
    """The worst path of all targets, without names and with them; and what is left out."""
    for names in (False, True):
        paths = [(depths['poll'], name) for (name, its), (_, depths, _) in found.items()
                 if its is names]
        if paths:
            (deep, path), name = max(paths)
            show(f'the deepest, {name}{", with names" if names else ""}: {deep:,} bytes',
                 *stack.shown(path))
    library = sorted(set().union(*(library for *_, library in found.values())))
    show(*textwrap.wrap('of libc and libgcc, counted as 0: ' + ', '.join(library), 92))


def run_painted(broker, unit, names):
    """The bytes of its painted stack that a consumer has used between start() and its end."""
    program, hosts = unit.with_suffix(''), unit.with_suffix('.hosts')
    hosts.write_text('127.0.0.1 broker.test\n', encoding='utf-8')
    sizes.call('g++', unit, '-o', program, '-no-pie', '-static', '-nodefaultlibs',
               '-Wl,--start-group', '-lc', '-lgcc', '-lgcc_eh')
    with Broker(broker, '-t', 't', '-r', f't:{PAINTED_RECORDS}:100') as cluster:
        address = cluster.address
        if names:
            address = 'broker.test:' + address.rpartition(':')[2]
        try:
            done = subprocess.run([program, address, 't', str(PAINTED_RECORDS), hosts],
                                  stdout=subprocess.PIPE, encoding='utf-8', timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Failed('the consumer did not end') from None
    said = re.fullmatch(r'\d+ records, (\d+) bytes\n', done.stdout)
    if done.returncode or not said:
        raise Failed(f'exit code {done.returncode}: {done.stdout}')
    return int(said[1])


def check_painted(out, found):
    """What a running consumer has used of its stack agrees with what was counted."""
    what = 'a painted stack is not deeper than the counted one, x86-64'
    if not out.options.minibroker:
        out.skip(what, 'no --minibroker PATH')
        return
    for names in (False, True):
        if ('x86-64', names) not in found:
            continue
        unit, depths, _ = found['x86-64', names]
        counted = depths['loop'][0]
        used, problems = attempt(run_painted, out.options.minibroker, unit, names)
        if used and not counted / 2 < used <= counted + LIBRARY_STACK_BYTES:
            problems = [f'{used:,} bytes, counted {counted:,}']
        out.check(what + (', with names' if names else ''), problems,
                  f'{used} bytes with libc, counted {counted}')


# ---- RAM.

def measure_ram(target, root, directory):
    """(part, bytes of the presets) as the compiler has them."""
    unit, rows = directory / f'ram-{target.name}.o', directory / f'ram-{target.name}'
    sizes.compile_unit(target, root, 'tests/footprint/ram.cpp', unit)
    sizes.call(target.binutils + 'objcopy', '-O', 'binary', '-j', '.kshare_ram', unit, rows)
    return [(name.rstrip(b'\0').decode(), numbers)
            for name, *numbers in struct.iter_unpack('<32s4I', rows.read_bytes())]


def check_ram(out, targets, directory, rows):
    done = {}
    for target in targets:
        if target.name not in RAM_TARGETS:
            continue
        parts, problems = attempt(measure_ram, target, out.root, directory)
        names = [name for name, _ in parts or []]
        if parts:
            done[target.name] = parts
            storage = names.index(RAM_PARTS)
            for i, preset in enumerate(PRESETS):
                rest = parts[storage][1][i] - sum(numbers[i] for _, numbers in parts[:storage])
                if not 0 <= rest <= PADDING_BYTES_MAX:
                    problems.append(f'{preset}: the parts leave {rest} bytes of Storage')
        out.check(f'the parts of a Storage are all of it, {target.name}', problems)
        if parts:
            tiny = dict(parts)['all'][0]
            out.check(f'Tiny: at most {TINY_BYTES_MAX:,} bytes of RAM, {target.name}',
                      [] if tiny <= TINY_BYTES_MAX else [f'{tiny:,} bytes'], f'{tiny:,}')
    if len(done) == len(RAM_TARGETS):
        for (name, wide), (_, narrow) in zip(*(done[target] for target in RAM_TARGETS)):
            for column, sizes_of in zip(PRESETS, zip(wide, narrow)):
                rows.put(name, column, *dict.fromkeys(sizes_of))  # once if they are the same


# ---- The tables.

def check_tables(out, targets, tables):
    readme = out.root / 'README.md'
    whole = len(targets) == len(TARGETS) and not out.quick
    if out.options.write:
        missing = [] if whole and all(of.rows and of.is_whole() for of in tables) else [
            'only when everything was measured: every compiler, no --quick, no --target']
        out.check('the tables of README.md are written', missing or table.write(readme, tables))
        return
    what = f'README.md has these figures, within {table.OFF_MAX:.0%}'
    text = readme.read_text(encoding='utf-8')
    titles, _ = table.written(text)
    if titles and titles[0] != tables[0].title:
        out.skip(what, f'it has {titles[0]}, here it is {tables[0].title}')
        return
    out.check(what, table.differences(tables, text, not whole),
              f'{sum(len(of.cells()) for of in tables)} figures')


def print_largest(out, targets, directory):
    for target in targets:
        kept = sizes.measure(target, out.root, directory)
        print(f'{target.name}: ' + ', '.join(f'{size:,} {group}'
                                             for group, size in kept.bytes.items()))
        print('\n'.join('  ' + line for line in sizes.largest(kept, out.options.largest)))


def main():
    out = report.Report(__doc__, add_options)
    targets = chosen_targets(out)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        if out.options.largest:
            print_largest(out, targets, directory)
            return 0
        versions = sorted({compiler(target) for target in targets})
        names = [target.name for target in TARGETS]
        code = table.Table('bytes, ' + ', '.join(versions), names)
        ram = table.Table('RAM, 64 / 32 bit', PRESETS)
        kept = measure_code(out, targets, directory, code)
        check_flash(out, kept)
        check_painted(out, check_stack(out, targets, directory, code))
        check_ram(out, targets, directory, ram)
        check_tables(out, targets, [code, ram])
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
