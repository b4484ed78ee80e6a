#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The promise tests can fail: a tiny project that keeps every promise passes, and each way of
breaking one is found by the check that is there for it."""
import pathlib
import subprocess
import sys
import tempfile

import report
import toolchain

HEADER = '''// SPDX-License-Identifier: Apache-2.0
// What:        {what}
#ifndef {guard}
#define {guard}

#include <cstdint>
{includes}
namespace kshare {{
{code}
}}  // namespace kshare

#endif  // {guard}
'''
SPDX = '// SPDX-License-Identifier: Apache-2.0\n'


def header(path, code, *includes):
    guard = path.upper().replace('/', '_').replace('.', '_')
    lines = ''.join(f'#include {name}\n' for name in includes)
    return HEADER.format(what=path, guard=guard, includes=lines, code=code)


# What fixture headers are called; the promises are checked on them as on the real ones.
BASE, WIRE = 'include/kshare/base/sum.hpp', 'include/kshare/wire/pair.hpp'
TOP, CONSUMER = 'include/kshare/kshare.hpp', 'include/kshare/consumer.hpp'
TRANSPORT, POSIX = 'include/kshare/net/transport.hpp', 'include/kshare/net/posix.hpp'
MINIMAL, VALUES = 'tests/promise/minimal.cpp', 'tests/promise/values.cpp'
ALLOC, COUNTER = 'tests/promise/alloc_one.cpp', 'tests/support/alloc_count.hpp'
README, CASES, LIVE = 'README.md', 'tests/unit/test_sum.cpp', 'tests/live/cases_sum.py'
MUTANT = 'tests/mutants/sum_twice.patch'

TWICE = '''  }
  static uint32_t twice(uint32_t a) { return a * 2; }
  // "new" and 'throw' in a comment, TO-DO too
'''
CHANGE = '''--- a/include/kshare/base/sum.hpp
+++ b/include/kshare/base/sum.hpp
@@ -18,3 +18,3 @@
   }
-  static uint32_t twice(uint32_t a) { return a * 2; }
+  static uint32_t twice(uint32_t a) { return a * 3; }
   // "new" and 'throw' in a comment, TO-DO too
'''

PROJECT = {
    BASE: header('kshare/base/sum.hpp', '''
inline constexpr uint32_t kOne = 1;
class Sum {
 public:
  constexpr Sum(uint32_t a, uint32_t b) : a_{a}, b_(b) {}
  uint32_t get() const {
    static constexpr uint32_t kZero[1] = {};
    return a_ + b_ + kZero[0];
  }
  static uint32_t twice(uint32_t a) { return a * 2; }
  // "new" and 'throw' in a comment, TO-DO too
 private:
  uint32_t a_ = 0;
  uint32_t b_ = 0;
};
// One switch in schema order, so it may be long.
inline void decode() {''' + '\n' * 80 + '''}
inline const char* words() { return "malloc(1); throw new int; printf("; }'''),
    WIRE: header('kshare/wire/pair.hpp', '''
inline uint32_t pair(uint32_t a) { return Sum{a, kOne}.get(); }''', '"kshare/base/sum.hpp"'),
    TRANSPORT: header('kshare/net/transport.hpp', 'struct Transport {};'),
    POSIX: header('kshare/net/posix.hpp', 'inline int process() { return ::getpid(); }',
                  '<unistd.h>', '"kshare/net/transport.hpp"'),
    CONSUMER: header('kshare/consumer.hpp', '''
struct Storage {
  uint8_t bytes[65536];
};
inline uint32_t first(const Storage& from) { return pair(from.bytes[0]); }''',
                     '"kshare/net/transport.hpp"', '"kshare/wire/pair.hpp"'),
    TOP: header('kshare/kshare.hpp', '', '"kshare/consumer.hpp"'),
    MINIMAL: SPDX + '''#include "kshare/kshare.hpp"
static kshare::Storage storage;
int main(int count, char**) {
  storage.bytes[0] = static_cast<uint8_t>(count);
  asm volatile("" : : "r"(&storage) : "memory");  // as if it were used
  return static_cast<int>(kshare::first(storage));
}
''',
    VALUES: SPDX + '''#include "kshare/kshare.hpp"
static_assert(sizeof(kshare::Storage) == 65536);
''',
    ALLOC: SPDX + '''#include "support/alloc_count.hpp"
#include "kshare/kshare.hpp"
static kshare::Storage storage;
int main() {
  AllocCount count;
  static_cast<void>(kshare::first(storage));
  return static_cast<int>(count.calls());
}
''',
    README: '## What happens when\n\n' + '''- **one and one**: two, `always`.
  *Shown by* "one and one
  are two", `two_it_is`.
''' * 25 + '\n## More\n\n- nothing\n',
    CASES: SPDX + '''TEST_CASE(
    "one and "
    "one are two") {
}
''',
    LIVE: '''# SPDX-License-Identifier: Apache-2.0
@case('two', since=(4, 2))
def two_it_is(live):
    pass
''',
    MUTANT: '# Three times, not twice.\n# tests: test_sum\n' + CHANGE,
    'CMakeLists.txt': '# SPDX-License-Identifier: Apache-2.0\n',
    'meson.build': '# SPDX-License-Identifier: Apache-2.0\n',
}

INLINE = 'inline uint32_t pair('
INCLUDE = '#include <cstdint>\n'
HEAP_CALL = '  std::free(std::getenv("NONE"));\n'


def before(old, new):
    """The edit that puts new text in front of old."""
    return old, new + old


def after(old, new):
    return old, old + new


def function(body, result='uint32_t'):
    """The edit that puts one more function into wire's header."""
    return before(INLINE, f'inline {result} more(uint32_t a) {{ {body} }}\n')


# Script, the check that must fail, the file that breaks it, and its edits (old text, new text);
# a whole new file has one edit from nothing.
LAYERS = [
    ('includes go one way', BASE, after(INCLUDE, '#include "kshare/wire/pair.hpp"\n')),
    ('includes go one way', WIRE, after(INCLUDE, '#include "kshare/consumer.hpp"\n')),
    ('includes go one way', CONSUMER, after(INCLUDE, '#include "kshare/net/posix.hpp"\n')),
    ('includes go one way', TOP, after(INCLUDE, '#include "kshare/net/posix.hpp"\n')),
    ('no header includes itself', BASE, after(INCLUDE, '#include "kshare/base/sum.hpp"\n')),
    ('every folder is one of', 'include/kshare/util/new.hpp', ('', 'new')),
    ('our includes are written', WIRE, ('"kshare/base/sum.hpp"', '"../base/sum.hpp"')),
    ('system headers only', WIRE, after(INCLUDE, '#include <unistd.h>\n')),
    ('system headers only', TRANSPORT, after(INCLUDE, '#include <poll.h>\n')),
    ('system headers only', POSIX, after(INCLUDE, '#include <vector>\n')),
    ('system headers only', POSIX, after(INCLUDE, '#include <mbedtls/ssl.h>\n')),
    ('kshare.hpp reaches', 'include/kshare/base/lost.hpp', ('', 'lost')),
]
TIDY = [
    ('guards are named', WIRE, ('#ifndef KSHARE_WIRE_PAIR', '#ifndef KSHARE_PAIR')),
    ('guards are named', WIRE, before('#ifndef', '#pragma once\n')),
    ('every header says what', WIRE, ('// What:', '// That:')),
    ('headers have at most', WIRE, after('// What:', '\n//' * 400)),
    ('functions have at most', WIRE, function('\n' * 70 + 'return a;')),
    ('functions have at most', BASE, after('get() const {', '\n' * 70)),
    ('no object outlives', WIRE, function('static uint32_t n = 0; return n += a;')),
    ('no object outlives', WIRE, before(INLINE, 'inline uint32_t global = 0;\n')),
    ('no object outlives', WIRE, before(INLINE, 'static uint32_t more() { return 1; }\n')),
    ('no object outlives', BASE, after('private:', '\n  static inline uint32_t all_ = 0;\n')),
    ('no heap', WIRE, function('return *new uint32_t(a);')),
    ('no heap', WIRE, function('delete &a; return a;')),
    ('no heap', WIRE, function('free(&a); return a;')),
    ('no heap', WIRE, function('if (a == 0) throw a; return a;')),
    ('no heap', WIRE, function('return dynamic_cast<uint32_t&>(a);')),
    ('no heap', WIRE, function('std::snprintf(nullptr, 0, "a"); return a;')),
    ('no heap', WIRE, function('return text.substr(a);', 'std::string_view')),
    ('no heap', WIRE, before(INLINE, '#define MORE 1\n')),
    ('no heap', WIRE, before(INLINE, 'namespace {\n}\n')),
    ('every source file names', VALUES, (SPDX, '\n')),
    ('lines have at most', VALUES, after(SPDX, '//' + ' ' * 99 + '\n')),
    ('nothing is marked', VALUES, after(SPDX, '// TO' 'DO: more\n')),
]
SHOWN = [
    ('each line of what', README, ('*Shown by*', 'shown by')),
    ('each line of what', README, (' "one and one\n  are two", `two_it_is`', ' nothing')),
    ('each line of what', README, ('## What happens when', '## What happens')),
    ('the tests that', README, ('  are two', '  are three')),
    ('the tests that', README, ('`two_it_is`', '`three_it_is`')),
    ('the tests that', CASES, ('"one and "', '"one or "')),
    ('the tests that', LIVE, ("@case('two', since=(4, 2))\n", '')),
]
MUTANTS = [
    ('each mutant says', MUTANT, ('# Three times, not twice.', '# three')),
    ('each mutant says', MUTANT, ('# tests: ', '# ')),
    ('each mutant says', MUTANT, ('test_sum', 'test_sum test_none')),
    ('each mutant applies', BASE, ('return a * 2;', 'return a + a;')),
    ('each mutant applies', BASE, ('  // "new"', '\n  // "new"')),
    ('each mutant applies', BASE, after(TWICE, TWICE)),
    ('each mutant applies', MUTANT, ('a/include/kshare/base/sum', 'a/include/kshare/base/more')),
    ('each mutant applies', MUTANT, ('a/include/kshare/base/sum.hpp', 'a/CMakeLists.txt')),
    ('each mutant applies', MUTANT, ('18,3 +18,3', '18,4 +18,4')),
    ('each mutant applies', MUTANT, ('18,3 +18,3', '18,2 +18,2')),
    ('each mutant applies', MUTANT, ('18,3 +18,3', '19,2 +19,2'), ('   }\n', '')),
    ('each mutant applies', MUTANT, (CHANGE, '')),
]
COMPILES = [
    ('each header alone, gcc, C++17', BASE, (INCLUDE, '')),
    ('each header alone, gcc, C++17', WIRE, function('return (uint32_t)a + 0u;')),
    ('each header alone, clang, C++20', WIRE, function('int b = a; return a;')),
    ('every function at -O2', WIRE, function('uint32_t* p = nullptr; return *p + a;')),
    ('no function, called or not', WIRE, function('return std::string_view("a").at(a);', 'char'),
     after(INCLUDE, '#include <string_view>\n')),
    ('two units that include everything link, gcc', WIRE, (INLINE, INLINE[len('inline '):])),
]
BINARY = [
    ('builds with libc alone, gcc', MINIMAL,
     before('int main', 'void none(int);\n'), before('  return', '  none(count);\n')),
    ('builds with libc alone, gcc', MINIMAL,
     before('int main', '#include <cstdlib>\n#include <new>\n'),
     before('  return', '  operator delete(std::getenv("NONE"));\n')),
    ('names no heap', MINIMAL,
     before('int main', '#include <cstdlib>\n'), before('  return', HEAP_CALL)),
    ('Storage is in .bss', MINIMAL, ('Storage storage', 'Storage storage = {{1}}')),
    ('Storage is in .bss', MINIMAL,
     before('int main', 'int start() { return storage.bytes[1]; }\nstatic int when = start();\n'),
     after('  return', ' when +')),
    ('trivial destructors', VALUES, ('65536', '65537')),
]
ALLOCATIONS = [
    ('heap calls counted', ALLOC, before('  return', HEAP_CALL)),
]
QUICK = [('layers.py', LAYERS), ('tidy.py', TIDY), ('shown.py', SHOWN),
         ('mutants.py', MUTANTS)]
ALL = QUICK + [('compiles.py', COMPILES), ('binary.py', BINARY), ('alloc.py', ALLOCATIONS)]


def failed_checks(script, project):
    """What a promise script prints as failed for a project (path -> text), and all it prints."""
    here = pathlib.Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as name:
        for path, text in project.items():
            file = pathlib.Path(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run([sys.executable, here / script, '--root', name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
    failed = [line[4:].strip() for line in done.stdout.splitlines() if line.startswith('FAIL')]
    if bool(failed) != bool(done.returncode):
        failed.append(f'exit code {done.returncode}')
    return failed, done.stdout


def problem(script, check, path, *edits):
    """Why this break was not found, or None."""
    text = PROJECT.get(path, '')
    for old, new in edits:
        if old not in text:
            return f'{path} has no "{old}"'
        text = text.replace(old, new, 1)
    failed, printed = failed_checks(script, {**PROJECT, path: text})
    if any(line.startswith(check) for line in failed):
        return None
    return f'{check}: nothing found in {path} with {edits[-1][1].strip()!r}:\n{printed}'


def main():
    out = report.Report(__doc__)
    PROJECT[COUNTER] = (report.HOME / COUNTER).read_text(encoding='utf-8')
    for script, breaks in QUICK if out.quick else ALL:
        failed, printed = failed_checks(script, PROJECT)
        out.check(f'{script} passes a project that keeps its promises', [printed] if failed else [])
        if not toolchain.present(toolchain.CLANG):
            breaks = [entry for entry in breaks if 'clang' not in entry[0]]
        found = toolchain.in_parallel(lambda entry: problem(script, *entry), breaks)
        out.check(f'{script} finds each broken promise', [text for text in found if text],
                  f'{len(breaks)} ways')
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
