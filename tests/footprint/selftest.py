#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The footprint tests can fail: small programs whose stack is known, and tables that are wrong."""
import pathlib
import sys
import tempfile

import sizes
import stack
import table
from sizes import TARGETS, Failed

import report
import toolchain

# Below top() nothing of 2,000 bytes can be reached.
PROGRAM = '''
#define FAR __attribute__((noinline))
extern "C" void away(void*);
template <int bytes> FAR void use() { char room[bytes]; away(room); }
struct Base { virtual int run(int) = 0; virtual int idle(int) = 0; };
struct One final : Base {
  FAR int run(int) override { use<DEEP>(); return 1; }
  FAR int idle(int) override { use<2000>(); return 2; }
};
struct Other { virtual int run(int) { use<2000>(); return 3; } };
One one;
Other other;
FAR int call(int (*function)(int), int a) { return function(a) + 1; }
FAR int pointed(int a) { POINTED; return a + 1; }
FAR int aside(int a) { use<2000>(); return a; }
extern "C" FAR int top(Base& base, int a) {
  BODY;
  return base.run(a) + call(pointed, a) + 1;
}
int main(int count, char**) {
  return other.run(count) + call(aside, count) + top(one, count) + one.idle(count);
}
'''
TEXT = '| bytes | a | b |\n|---|---:|---:|\n| row | 1,000 | 20 / 30 |\n'


def deepest(target, directory, **words):
    """The bytes below top() with these words in the program; or what is wrong with it."""
    source, unit = directory / f'{target.name}.cpp', directory / f'{target.name}.o'
    text = PROGRAM
    for word, value in {'DEEP': '8', 'POINTED': '', 'BODY': '', **words}.items():
        text = text.replace(word, value)
    source.write_text(text, encoding='utf-8')
    try:
        stack.compile_unit(target, directory, source, unit)
        return stack.Graph(target, unit).deepest('top')[0]
    except Failed as why:
        return str(why)


def check_target(out, target, directory):
    def is_deep(answer):
        return 1000 < answer < 1400
    found = {
        'a virtual call counts': (is_deep, {'DEEP': '1000'}),
        'a call through a pointer counts': (is_deep, {'POINTED': 'use<1000>()'}),
        'nothing else counts': (lambda deep: deep < 400, {}),
        'recursion is found': (
            lambda why: why.startswith('recursion: top > top'),
            {'BODY': 'if (a > 9) a = top(base, a / 2) + top(base, a - 1)'}),
        'recursion over a pointer is found': (
            lambda why: why.startswith('recursion: '),
            {'POINTED': 'if (a > 9) a = call(pointed, a / 2) + call(pointed, a - 1)'}),
        'a frame that grows is found': (
            lambda why: 'no fixed size' in why,
            {'BODY': 'away(__builtin_alloca(static_cast<unsigned>(a)))'}),
    }
    for what, (right, words) in found.items():
        answer = deepest(target, directory, **words)
        fine = isinstance(answer, str) == what.endswith('found') and right(answer)
        out.check(f'{what}, {target.name}', [] if fine else [answer])


def check_table(out):
    measured = table.Table('bytes', ['a', 'b'])
    measured.put('row', 'a', 1000)
    measured.put('row', 'b', 20, 30)
    text = f'{table.BEGIN}{TEXT}{table.END}'
    out.check('a table that is right passes', table.differences([measured], text, False))
    wrong = {
        'a figure that is off': text.replace('1,000', '960'),
        'a second number that is off': text.replace('/ 30', '/ 90'),
        'a number that is missing': text.replace(' / 30', ''),
        'a row that is missing': text.replace('| row | 1,000 | 20 / 30 |\n', ''),
        'a row that is too many': text.replace(table.END, '| more | 1 | 2 |\n' + table.END),
        'no table': '',
    }
    blind = [what for what, changed in wrong.items()
             if not table.differences([measured], changed, False)]
    out.check('every difference is found', blind, f'{len(wrong)} ways')


def main():
    out = report.Report(__doc__)
    with tempfile.TemporaryDirectory() as name:
        for target in TARGETS[:1] if out.quick else TARGETS:
            if toolchain.present(target):
                check_target(out, target, pathlib.Path(name))
            else:
                out.skip(target.name, f'no {target.cxx} (package {target.package})')
    check_table(out)
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
