#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes go one way: the arrows between the folders of include/kshare, and which headers of the
system each may see."""
import re
import sys

import report
import source
import toolchain

# Folder -> the folders it may include, beside itself. The single headers at the top are below.
ARROWS = {
    'base': set(),
    'wire': {'base'},
    'message': {'base', 'wire'},
    'codec': {'base', 'wire'},
    'record': {'base', 'wire', 'codec'},
    'ack': {'base', 'wire', 'message', 'codec', 'record'},
    'core': {'base', 'wire', 'message', 'codec', 'record', 'ack'},
    'net': {'base'},
}
PORTABLE = set(ARROWS) - {'net'}
# Interface of the network, free of the system: what consumer.hpp sees of net/.
TRANSPORT = 'kshare/net/transport.hpp'
# In net/, but free of the system too: a resolver of one's own needs the interface alone, and what
# DNS packets say is the same everywhere (and fuzzed without a socket).
SYSTEM_FREE = {TRANSPORT, 'kshare/net/resolver.hpp', 'kshare/net/dns_message.hpp'}

FREESTANDING = {'array', 'climits', 'cstddef', 'cstdint', 'cstring', 'initializer_list', 'iterator',
                'limits', 'new', 'string_view', 'type_traits', 'utility'}
# The compiler's own, for one instruction of the CPU.
INTRINSIC = {'cpuid.h', 'arm_acle.h'}
# Never, net/ included: they bring the heap, exceptions or a lot of code.
HEAVY = {'algorithm', 'any', 'chrono', 'condition_variable', 'deque', 'exception', 'filesystem',
         'fstream', 'functional', 'future', 'iomanip', 'ios', 'iosfwd', 'iostream', 'istream',
         'list', 'locale', 'map', 'memory', 'mutex', 'optional', 'ostream', 'queue',
         'random', 'regex', 'set', 'sstream', 'stack', 'stdexcept', 'streambuf', 'string',
         'thread', 'typeindex', 'typeinfo', 'unordered_map', 'unordered_set', 'variant', 'vector'}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(path):
    """(line, '<' or '"', name) of every #include."""
    text = source.without_comments(path.read_text(encoding='utf-8'))
    return [(text.count('\n', 0, m.start(1)) + 1, m[1], m[2]) for m in INCLUDE.finditer(text)]


def folder(name):
    parts = name.split('/')
    return parts[1] if len(parts) > 2 else parts[-1]


def may_include(name, other):
    """Whether header `name` may include header `other` (both 'kshare/...')."""
    here, there = folder(name), folder(other)
    if there == 'version.hpp' or here == there:
        return True
    if here == 'kshare.hpp':
        return there != 'net' or other == TRANSPORT
    if here == 'consumer.hpp':
        return there in PORTABLE or other == TRANSPORT
    return there in ARROWS.get(here, ())


def system_problem(name, system):
    """Why header `name` may not include <system>, or None."""
    if system in HEAVY:
        return 'banned everywhere'
    if system in FREESTANDING | INTRINSIC:
        return None
    if system.startswith(('mbedtls/', 'psa/')):
        return None if name == 'kshare/net/mbedtls.hpp' else 'TLS belongs in net/mbedtls.hpp'
    if folder(name) != 'net' or name in SYSTEM_FREE:
        return 'headers of the system belong in net/ (and not in its portable headers)'
    return None


def main():
    out = report.Report(__doc__)
    arrows, systems, forms, strangers = [], [], [], []
    graph = {}
    for path in out.headers():
        name = str(path.relative_to(out.include))
        graph[name] = []
        if folder(name) not in ARROWS and name.count('/') > 1:
            strangers.append(f'{name}: the design has no folder {folder(name)}/')
        for line, quote, other in includes(path):
            where = f'{out.name(path)}:{line}'
            if quote == '<':
                problem = system_problem(name, other)
                if problem:
                    systems.append(f'{where}: <{other}>: {problem}')
            elif not (out.include / other).is_file():
                forms.append(f'{where}: "{other}" is not a path below include/')
            else:
                graph[name].append(other)
                if not may_include(name, other):
                    arrows.append(f'{where}: {folder(name)} must not include {other}')
    links = sum(len(others) for others in graph.values())
    out.check('includes go one way', arrows, f'{len(graph)} headers, {links} includes')
    circles = [name for name in graph if name in toolchain.reached(graph, name)]
    out.check('no header includes itself in a circle', circles)
    out.check('every folder is one of the design', strangers)
    out.check('our includes are written as "kshare/..."', forms)
    out.check('system headers only where they belong', systems)
    top = 'kshare/kshare.hpp'
    if top in graph:
        nets = {name for name in graph if folder(name) == 'net'}
        lost = sorted(set(graph) - toolchain.reached(graph, top) - {top} - nets)
        out.check('kshare.hpp reaches every portable header', [f'not {name}' for name in lost])
    else:
        out.skip('kshare.hpp reaches every portable header', 'no kshare.hpp')
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
