# SPDX-License-Identifier: Apache-2.0
"""The compilers of the promise tests, and programs built the way a device's firmware is."""
import collections
import os
import re
import shutil
import concurrent.futures

import report

Toolchain = collections.namedtuple('Toolchain', 'name cxx binutils package')
GCC = Toolchain('gcc', 'g++', '', 'g++')
CLANG = Toolchain('clang', 'clang++', '', 'clang')
ARMHF = Toolchain('armhf gcc', 'arm-linux-gnueabihf-g++', 'arm-linux-gnueabihf-',
                  'g++-arm-linux-gnueabihf')

NO_RUNTIME = ['-fno-exceptions', '-fno-rtti']
# Smallest code, nothing that is not used, no libstdc++.
DEVICE = ['-std=c++17', '-Os', *NO_RUNTIME, '-ffunction-sections', '-fdata-sections',
          '-fno-asynchronous-unwind-tables', '-fno-unwind-tables', '-fno-pie']
DEVICE_LINK = ['-no-pie', '-Wl,--gc-sections', '-nodefaultlibs', '-lc', '-lgcc']
TLS_HEADERS = 'kshare/net/mbedtls.hpp'


def present(toolchain):
    return shutil.which(toolchain.cxx) is not None


def warnings(toolchain):
    """Every flag of cmake/warnings.txt that this compiler knows, as errors."""
    text = (report.HOME / 'cmake' / 'warnings.txt').read_text(encoding='utf-8')
    lines = [line for line in text.splitlines() if line and not line.startswith('#')]
    flags = [line.replace('gcc: ', '') for line in lines
             if toolchain is not CLANG or not line.startswith('gcc: ')]
    # size_t is uint32_t there: the casts that 64 bit needs would be called useless.
    not_here = {'-Wuseless-cast'} if toolchain is ARMHF else set()
    return [flag for flag in flags if flag not in not_here] + ['-Werror']


def in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def build(toolchain, root, source, program):
    """Compiles and links one source as firmware; the problems, and leaves PROGRAM.o beside it."""
    unit = f'{program}.o'
    code, text = report.run([toolchain.cxx, *DEVICE, *warnings(toolchain), f'-I{root}/include',
                             '-c', source, '-o', unit])
    if code == 0:
        code, text = report.run([toolchain.cxx, unit, '-o', program, *DEVICE_LINK])
    return [text] if code else []


def symbols(toolchain, path):
    """(type, name) of every symbol of an object file or a program."""
    _, text = report.run([toolchain.binutils + 'nm', path])
    return [(m[1], m[2]) for m in re.finditer(r'^[0-9a-f ]*([A-Za-z]) (\S+)$', text, re.MULTILINE)]


def sections(toolchain, path):
    """Bytes of each section."""
    _, text = report.run([toolchain.binutils + 'size', '-A', path])
    return {m[1]: int(m[2]) for m in re.finditer(r'^(\S+)\s+(\d+)\s+\d+$', text, re.MULTILINE)}


def reached_names(unit, word):
    """For each function of an object file (made with -ffunction-sections) whose name has `word` in
    it: all the symbols that it names, or that what it names does, and so on."""
    _, text = report.run(['objdump', '-r', unit])
    edges = collections.defaultdict(set)
    section = None
    for line in text.splitlines():
        begin = re.match(r'RELOCATION RECORDS FOR \[(\S+)\]', line)
        entry = re.match(r'[0-9a-f]+ R_\S+\s+([^\s+-]+)', line)
        if begin:
            section = bare(begin[1])
        elif entry:
            edges[section].add(bare(entry[1]))
    _, text = report.run(['objdump', '-h', unit])
    functions = [bare(m) for m in re.findall(r' (\.text\.\S*)', text) if word in m]
    return {function: reached(edges, function) for function in functions}


def bare(section):
    """The symbol that a section of its own was made for."""
    return re.sub(r'^\.(text|rodata|data\.rel\.ro(\.local)?)\.', '', section)


def reached(edges, start):
    """Everything that can be reached from `start`, without it."""
    seen, todo = set(), list(edges.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += edges.get(name, ())
    return seen
