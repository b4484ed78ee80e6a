# SPDX-License-Identifier: Apache-2.0
"""The deepest stack below a function of an object file: frames and calls from gcc's call graph,
virtual calls by the vtables, calls through pointers by the functions whose address is taken. Where
the object file has nobody who could be called (a codec, a hook), it is the application's: 0."""
import collections
import pathlib
import re

import report
import sizes
from sizes import Failed, call

NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"( shape : ellipse)? \}$', re.M)
EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', re.M)
FRAME = re.compile(r'\\n(\d+) bytes \(([a-z,]+)\)')
INDIRECT = '__indirect_call'
# In gcc's dump of a function: a virtual call's static class and its place in the vtable; a call of
# something that is a value.
DUMPED = re.compile(r'^;; Function .* \((\S+), funcdef_no=', re.M)
VIRTUAL = re.compile(r'OBJ_TYPE_REF\(\w+(?:\(D\))?;\((?:const )?struct (\w+)\)[^>]*->(\d+)B\)')
POINTER = re.compile(r'^\s+(?:[^=\n]+ = )?(?!__)\w*_\d+(?:\(D\))? \(', re.M)
# In its dump of the classes: the name, the vtable, the bases.
CLASS = re.compile(r'^Class (\S.*)\n((?:.+\n)*)', re.M)
VTABLE = re.compile(r'vptr=\(\(& ?(?:.*::)?(_ZTV\w+)\)')
BASE = re.compile(r'^ *(\S.*) \(0x[0-9a-fx]+\) \d+', re.M)
CALLS = re.compile(r'PLT32|_CALL|JUMP|JAL|BRANCH|CALL26')
SECTION = re.compile(r'^RELOCATION RECORDS FOR \[(\S+)\]', re.M)
RELOCATION = re.compile(r'^([0-9a-f]+) (R_\S+)\s+([^\s+-]+)(\S*)', re.M)
# They name functions, but nobody can call by them.
NOT_POINTERS = ('.eh_frame', '.ARM.ex', '.init_array', '.debug')
DUMPS = ['-fcallgraph-info=su', '-fdump-tree-optimized={}.tree', '-fdump-lang-class={}.class']


def compile_unit(target, root, source, unit, *flags):
    sizes.compile_unit(target, root, source, unit, *flags,
                       *(flag.format(unit) for flag in DUMPS))


def bare(title):
    """The symbol, without the file that gcc puts before local ones."""
    return title.rpartition(':')[2]


def function_of(symbol):
    """The function that a symbol or a section of its own stands for."""
    return sizes.FUNCTION.sub('', symbol)


class Graph:
    def __init__(self, target, unit):
        graph = unit.with_suffix('.ci').read_text(encoding='utf-8')
        self.frames, self.dynamic = {}, set()
        for title, label, _ in NODE.findall(graph):
            frame = FRAME.search(label)
            if frame:
                self.frames[bare(title)] = int(frame[1])
                if frame[2] == 'dynamic':  # "dynamic,bounded" has its bound as the size
                    self.dynamic.add(bare(title))
        self.calls = collections.defaultdict(set)
        self._read_symbols(target, unit)
        self._read_relocations(target, unit)
        indirect = set()
        for caller, callee in EDGE.findall(graph):
            if callee == INDIRECT:
                indirect.add(bare(caller))
            else:
                self.calls[bare(caller)].add(self._named(bare(callee)))
        self._read_indirect(pathlib.Path(f'{unit}.tree'), indirect,
                            implementers(pathlib.Path(f'{unit}.class')))

    def _read_symbols(self, target, unit):
        """Symbols of one place, such as the names of a constructor, and those from elsewhere."""
        text = call(target.binutils + 'objdump', '-t', unit)
        places = collections.defaultdict(list)
        for at, section, name in re.findall(r'^([0-9a-f]+) .{7} (\.text\S*)\s+[0-9a-f]+ (?:\.\w+ )?'
                                            r'(\S+)$', text, re.M):
            places[section, at].append(name)
        self.alias = {name: known for names in places.values() for name in names
                      for known in names if known in self.frames}
        self.outside = set(re.findall(r'\*UND\*\s+[0-9a-f]+ (\S+)$', text, re.M))

    def _named(self, name):
        """The function of the graph that a name means; itself if it is the C library's."""
        for same in (name, re.sub('C[14](?=E)', 'C2', name), re.sub('C[24](?=E)', 'C1', name)):
            if same in self.frames:
                return same
            if same in self.alias:
                return self.alias[same]
        if name not in self.outside and not is_builtin(name):
            raise Failed(f'a function without a frame is called: {name}')
        return name

    def _read_relocations(self, target, unit):
        """vtables: methods by their place, which is counted behind two words. taken: the functions
        whose address is held by a function, or ('') by a table."""
        self.vtables, self.taken = collections.defaultdict(dict), collections.defaultdict(set)
        text = call(target.binutils + 'objdump', '-r', unit)
        _, *parts = SECTION.split(text)
        for section, entries in zip(parts[::2], parts[1::2]):
            if section.startswith(NOT_POINTERS):
                continue
            vtable = re.search(r'_ZTV\w+', section)
            for at, kind, symbol, addend in RELOCATION.findall(entries):
                function = function_of(symbol)
                function = self.alias.get(function, function)
                if function not in self.frames or addend or CALLS.search(kind):
                    continue
                if symbol == section:  # a jump table, or a constant behind the code
                    continue
                if vtable:
                    word = 8 if kind.endswith('64') else 4
                    self.vtables[vtable[0]][int(at, 16) // word - 2] = function
                else:
                    holder = function_of(section) if section.startswith('.text') else ''
                    self.taken[holder].add(function)

    def _read_indirect(self, dump, indirect, implemented):
        """What virtual calls may reach; and which functions call through pointers."""
        _, *parts = DUMPED.split(dump.read_text(encoding='utf-8'))
        bodies = dict(zip(parts[::2], parts[1::2]))
        self.through_pointers = set()
        for caller in indirect:
            body = bodies.get(caller, '')
            methods = set(VIRTUAL.findall(body))
            if POINTER.search(body):
                self.through_pointers.add(caller)
            elif not methods:
                raise Failed(f'{caller} calls nobody knows what')
            for base, place in methods:
                for vtable in implemented[base] & set(self.vtables):
                    if int(place) not in self.vtables[vtable]:
                        raise Failed(f'{vtable} has no method {place}')
                    self.calls[caller].add(self.vtables[vtable][int(place)])

    def reached(self, start):
        """Callees by caller, for all that can be reached; pointers may hold whatever was taken."""
        pointed = set(self.taken.get('', ()))
        while True:
            calls, todo = {}, [start]
            while todo:
                name = todo.pop()
                if name not in calls:
                    more = pointed if name in self.through_pointers else set()
                    calls[name] = sorted(self.calls.get(name, set()) | more)
                    todo += calls[name]
            now = set().union(pointed, *(self.taken.get(name, ()) for name in calls))
            if now == pointed:
                return calls
            pointed = now

    def deepest(self, start):
        """(bytes, [(function, bytes), ...]) below and with `start`; what is outside counts 0."""
        if start not in self.frames:
            raise Failed(f'no function {start}')
        calls = self.reached(start)
        moving = sorted(self.dynamic & set(calls))
        if moving:
            raise Failed(f'the frame of {moving[0]} has no fixed size')
        known, path = {}, []

        def depth(name):
            if name in path:
                raise Failed('recursion: ' + ' > '.join(path[path.index(name):] + [name]))
            if name not in known:
                path.append(name)
                below = max((depth(callee) for callee in calls[name]), default=(0, []))
                path.pop()
                frame = self.frames.get(name, 0)
                own = [(name, frame)] if name in self.frames else []
                known[name] = (frame + below[0], own + below[1])
            return known[name]
        return depth(start)

    def library(self, start):
        """The functions of libc and libgcc that are called below `start`: not counted."""
        return sorted(set(self.reached(start)) - set(self.frames))


def is_builtin(name):
    """What gcc's call graph names, but makes code of in place or takes from libgcc."""
    return name.startswith('__')


def implementers(dump):
    """The vtables of all classes that derive from each class, by its name without namespaces."""
    found = collections.defaultdict(set)
    for _, body in CLASS.findall(dump.read_text(encoding='utf-8')):
        for vtable in VTABLE.findall(body):
            for base in BASE.findall(body):
                found[re.sub(r'.*::', '', re.sub(r'<.*', '', base))].add(vtable)
    return found


def shown(path):
    """Lines for people: the functions of a path."""
    names = report.run(['c++filt'], '\n'.join(name for name, _ in path))[1].splitlines()
    return [f'{size:6} {name}' for (_, size), name in zip(path, names)]
