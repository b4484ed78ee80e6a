# SPDX-License-Identifier: Apache-2.0
"""What every promise test shares: one line a check, the counts at the end, the two options."""
import argparse
import os
import pathlib
import subprocess
import sys

HOME = pathlib.Path(__file__).resolve().parents[2]
SHOWN_MAX = 24  # lines printed under one failed check


def is_source(path):
    return path.suffix in ('.hpp', '.cpp', '.py', '.java', '.cmake') or path.name in (
        'CMakeLists.txt', 'meson.build', 'run')


class Report:
    """check() and skip() print a line each; finish() the counts, and it gives the exit code."""

    def __init__(self, description, add_options=None):
        parser = argparse.ArgumentParser(description=description)
        if add_options:
            add_options(parser)
        parser.add_argument('--root', type=pathlib.Path, help='the tree to look at')
        parser.add_argument('--quick', action='store_true', help='the part for the inner loop')
        parser.add_argument('--strict', action='store_true', help='what is missing fails')
        options = parser.parse_args()
        self.options = options
        self.root = (options.root or HOME).resolve()
        self.include = self.root / 'include'
        self.quick = options.quick
        self.strict = options.strict or os.environ.get('CI') == 'true'
        self.passed = self.failed = self.skipped = 0

    def check(self, what, problems, measured=''):
        """One promise: kept if the list of problems is empty."""
        if not problems:
            self.passed += 1
            print(f'ok    {what}' + (f' ({measured})' if measured else ''), flush=True)
            return
        self.failed += 1
        print(f'FAIL  {what}')
        lines = '\n'.join(str(problem).rstrip() for problem in problems).splitlines()
        for line in lines[:SHOWN_MAX]:
            print('      ' + line)
        if len(lines) > SHOWN_MAX:
            print(f'      and {len(lines) - SHOWN_MAX} lines more')
        sys.stdout.flush()

    def skip(self, what, why):
        """A part that is missing: seen by a user, an error in CI."""
        if self.strict:
            self.check(what, [f'missing: {why}'])
            return
        self.skipped += 1
        print(f'skip  {what}: {why}', flush=True)

    def finish(self):
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped')
        return 1 if self.failed else 0

    def headers(self):
        return sorted(self.include.rglob('*.hpp'))

    def name(self, path):
        return str(path.relative_to(self.root))


def run(command, text=None):
    """The exit code and everything printed, as one text."""
    done = subprocess.run([str(word) for word in command], input=text, encoding='utf-8',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout
