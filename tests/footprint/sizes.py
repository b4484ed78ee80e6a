# SPDX-License-Identifier: Apache-2.0
"""Sources built as firmware for each target, and what of the object file the linker has kept."""
import collections
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'promise'))
import report  # noqa: E402
import toolchain  # noqa: E402
from toolchain import Toolchain  # noqa: E402

TARGETS = [
    Toolchain('x86-64', 'g++', '', 'g++'),
    Toolchain('aarch64', 'aarch64-linux-gnu-g++', 'aarch64-linux-gnu-', 'g++-aarch64-linux-gnu'),
    toolchain.ARMHF._replace(name='armhf'),
    Toolchain('riscv64', 'riscv64-linux-gnu-g++', 'riscv64-linux-gnu-', 'g++-riscv64-linux-gnu'),
]

# Section names by their beginning; the longer one first.
GROUPS = [
    ('.text', 'code'), ('.rodata', 'constants'), ('.srodata', 'constants'),
    ('.data.rel.ro', 'constants'), ('.ARM.ex', 'constants'), ('.eh_frame', 'constants'),
    ('.data', 'data'), ('.sdata', 'data'), ('.init_array', 'data'),
    ('.bss', 'bss'), ('.sbss', 'bss'), ('COMMON', 'bss'),
]
NOT_LOADED = ('.comment', '.note', '.debug', '.ARM.attributes', '.riscv.attributes')
MAP_BEGINS = '\nLinker script and memory map\n'
KEPT = re.compile(r'^ (\.\S+|COMMON)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$', re.MULTILINE)
FUNCTION = re.compile(r'^\.text\.(?:startup\.|unlikely\.|exit\.|hot\.)?')


class Failed(Exception):
    """The words of a compiler, a linker, or of what cannot be counted."""


def call(*command):
    code, text = report.run(command)
    if code:
        raise Failed(text)
    return text


def compile_unit(target, root, source, unit, *flags):
    call(target.cxx, *toolchain.DEVICE, f'-I{root}/include', *flags, '-c', root / source,
         '-o', unit)


def link(unit, target):
    """The linker's map of the program that this object file makes with libc alone."""
    chart = unit.with_suffix('.map')
    call(target.cxx, unit, '-o', unit.with_suffix(''), *toolchain.DEVICE_LINK, f'-Wl,-Map={chart}')
    return chart.read_text(encoding='utf-8')


def group_of(section):
    if section.startswith(NOT_LOADED):
        return None
    for beginning, group in GROUPS:
        if section.startswith(beginning):
            return group
    raise Failed(f'what is section {section}?')


class Kept:
    """What the linker has kept of one object file, after relaxation and merging of texts."""

    def __init__(self, chart, unit):
        behind = chart.partition(MAP_BEGINS)[2]
        self.sections = collections.Counter()
        for section, size, file in KEPT.findall(behind):
            if file == str(unit):
                self.sections[section] += int(size, 16)
        self.bytes = dict.fromkeys(('code', 'constants', 'data', 'bss'), 0)
        for section, size in self.sections.items():
            group = group_of(section)
            if group:
                self.bytes[group] += size
        if not self.bytes['code']:
            raise Failed('the map of the linker names no code of ours')

    @property
    def flash(self):
        return self.bytes['code'] + self.bytes['constants']

    def functions(self):
        """(bytes, symbol), the largest first."""
        return sorted(((size, FUNCTION.sub('', section)) for section, size in self.sections.items()
                       if section.startswith('.text.')), reverse=True)


def measure(target, root, directory, macro=''):
    """minimal.cpp for a target, with one feature or without."""
    unit = directory / f'{target.name}{macro}.o'
    flags = [f'-D{macro}'] if macro else []
    compile_unit(target, root, 'tests/promise/minimal.cpp', unit, *flags)
    return Kept(link(unit, target), unit)


def largest(kept, count):
    """Lines for people: the largest functions of our object file."""
    rows = kept.functions()[:count]
    names = report.run(['c++filt'], '\n'.join(name for _, name in rows))[1].splitlines()
    return [f'{size:6} {name}' for (size, _), name in zip(rows, names)]
