#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo, the RAM of the presets and kshare_cat on other architectures.

    targets.py --broker PATH EMULATOR=DIR...

DIR holds the statically linked examples that EMULATOR can run; PATH is kshare_minibroker.
"""
import argparse
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'examples'), str(HERE.parent / 'promise')]
import report  # noqa: E402
from run import Broker, Programs  # noqa: E402

RAM_MAX = [16384, 65536, 524288, 2097152]  # of the presets


def run(*words):
    done = subprocess.run([str(word) for word in words], timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding='utf-8', errors='replace')
    return done.returncode, done.stdout


def ended(code, text):
    return [] if code == 0 else [f'exit code {code}', text]


def check_demo(out, emulator, programs):
    code, text = run(emulator, programs / 'demo')
    problems = ended(code, text) + [f'{word!r} is not in it' for word in ('try 2', 'Tiny')
                                    if word not in text]
    out.check(f'{emulator}: the demo, with a redelivery', problems)


def check_memory(out, emulator, programs):
    code, text = run(emulator, programs / 'static_memory')
    total = re.search(r'^all\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$', text, re.MULTILINE)
    sizes = [int(n) for n in total.groups()] if total else []
    problems = ended(code, text) + [f'{size} bytes, promised {most}' for size, most in
                                    zip(sizes, RAM_MAX) if size > most]
    out.check(f'{emulator}: RAM of the presets', problems if sizes else [text],
              ', '.join(map(str, sizes)))


def check_cat(out, emulator, programs, broker):
    """Ten batches of a hundred records, in order, each accepted."""
    with Broker(Programs(programs, broker)) as at:
        at.topic()
        for _ in range(10):
            at.do('append', 't', 0, 100, 100)
        code, text = run(emulator, programs / 'kshare_cat', *at.cat('-c', '1000', '-f', '%o %s\\n'))
        state = at.state('g')
    lines = [line.split() for line in text.splitlines()]
    problems = ended(code, text)
    if [line[:2] for line in lines] != [[str(i)] * 2 for i in range(1000)]:
        problems.append(f'{len(lines)} lines, not those of offsets 0 to 999')
    if state[2] != 1000:
        problems.append(f'{state[2]} of 1000 records accepted')
    out.check(f'{emulator}: kshare_cat takes 1,000 records', problems)


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--broker', type=pathlib.Path, required=True)
    parser.add_argument('targets', nargs='+')
    options, sys.argv[1:] = parser.parse_known_args()
    out = report.Report(__doc__)
    for target in options.targets:
        emulator, _, folder = target.partition('=')
        programs = pathlib.Path(folder)
        check_demo(out, emulator, programs)
        check_memory(out, emulator, programs)
        check_cat(out, emulator, programs, options.broker.resolve())
    return out.finish()


if __name__ == '__main__':
    sys.exit(main())
