#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every promise test, one script after another. Each runs alone too, with the same options:
--quick (the inner loop's part), --strict (what is missing fails), --root TREE."""
import pathlib
import re
import subprocess
import sys

SCRIPTS = ['layers.py', 'tidy.py', 'shown.py', 'mutants.py', 'compiles.py', 'binary.py',
           'alloc.py', 'selftest.py']
SLOW = ['alloc.py']  # not in --quick
COUNTS = re.compile(r'^(\d+) passed, (\d+) failed, (\d+) skipped$')


def main():
    here = pathlib.Path(__file__).resolve().parent
    totals = [0, 0, 0]
    for script in SCRIPTS:
        if '--quick' in sys.argv and script in SLOW:
            continue
        print(f'{script.removesuffix(".py")}:', flush=True)
        done = subprocess.run([sys.executable, here / script, *sys.argv[1:]],
                              stdout=subprocess.PIPE, encoding='utf-8')
        *lines, last = done.stdout.splitlines() or ['']
        for line in lines:
            print('  ' + line)
        counts = COUNTS.match(last)
        if not counts:
            print(f'  FAIL  {script} ended with exit code {done.returncode}: {last}')
        numbers = [int(n) for n in counts.groups()] if counts else [0, 1, 0]
        totals = [total + n for total, n in zip(totals, numbers)]
    print(f'{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped')
    return 1 if totals[1] else 0


if __name__ == '__main__':
    sys.exit(main())
