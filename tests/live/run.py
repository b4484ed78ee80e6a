#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Live tests: kshare_cat against a real Apache Kafka on loopback.

    run.py --kshare-cat PATH --kshare-cat-tiny PATH --explicit-ack PATH --worker PATH
           --worker-tiny PATH --worker-2-links PATH --worker-3-links PATH
           --cat-aarch64 'EMULATOR PATH' --cat-armhf 'EMULATOR PATH'
           [--only PATTERN] [--kafka VERSION]

Without --kafka it is every supported release: one of them with all the tests, then the others side
by side with those that can tell one release from another. One line a test, the last one "N passed,
N failed, N skipped". A part that is missing (Java, Maven, one of the programs) is a skip for a
user and, with --strict or in CI, a failure.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import fnmatch
import os
import pathlib
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import jars  # noqa: E402
import cases_day  # noqa: E402,F401  (what takes longest begins first)
import cases_many  # noqa: E402,F401
import cases_cluster  # noqa: E402,F401
import cases_hurt  # noqa: E402,F401
import cases_records  # noqa: E402,F401
import cases_acks  # noqa: E402,F401
import cases_batch  # noqa: E402,F401
import cases_groups  # noqa: E402,F401
import cases_members  # noqa: E402,F401
import cases_topics  # noqa: E402,F401
import cases_transactions  # noqa: E402,F401
import cases_log  # noqa: E402,F401
import cases_ledger  # noqa: E402,F401
import cases_renew  # noqa: E402,F401
import cases_commit  # noqa: E402,F401
import cases_faults  # noqa: E402,F401
import cases_frozen  # noqa: E402,F401
import cases_network  # noqa: E402,F401
import cases_acl  # noqa: E402,F401
from client import Failure, Skip  # noqa: E402
from live import PROGRAMS, Live, Shared  # noqa: E402
from registry import CASES  # noqa: E402


def run_one(shared, case):
    """Runs one test and prints its line: 'passed', 'failed' or 'skipped'."""
    live = Live(shared)
    start = time.monotonic()
    text = detail = ''
    try:
        case.run(live)
        outcome = 'passed'
    except (Skip, jars.Missing) as e:
        outcome, text = 'skipped', str(e)
    except (Failure, jars.KafkaError) as e:
        outcome, text = 'failed', str(e)
        detail = live.describe_failure()
    except Exception:
        outcome, text = 'failed', 'unexpected'
        detail = traceback.format_exc(limit=-4) + live.describe_failure()
    live.close()
    notes = ', '.join(filter(None, [text, live.notes()]))
    line = f'{outcome:7} {shared.version} {case.name} ({time.monotonic() - start:.1f} s)'
    lines = [f'{line}: {notes}' if notes else line]
    lines += ['    ' + more for more in detail.splitlines()]
    print('\n'.join(lines), flush=True)
    return outcome


def start(shared, chosen):
    """Its broker, with the topics that the tests need being filled."""
    shared.start()
    shared.fill(sorted({name for case in chosen for name in case.needs}))
    if shared.programs['cat']:
        live = Live(shared)
        live.warm()
        live.close()


def run_together(options, versions):
    """The tests for these releases, on a broker of each; Counter of outcomes.

    First the tests that measure, one by one; then the files side by side, each in its order.
    """
    begin = time.monotonic()
    counts = {version: collections.Counter() for version in versions}
    started, files = [], []
    with contextlib.ExitStack() as closing:
        for version in versions:
            chosen = chosen_for(options, version)
            print(f'== Apache Kafka {version}: {len(chosen)} tests', flush=True)
            if not chosen:
                continue
            shared = Shared(options, version)
            closing.callback(shared.close)
            try:
                start(shared, chosen)
                started.append((shared, chosen))
            except (jars.Missing, jars.KafkaError) as e:
                outcome = 'skipped' if isinstance(e, jars.Missing) else 'failed'
                print(f'{outcome} {len(chosen)} tests: {e}')
                counts[version][outcome] = len(chosen)
        for shared, chosen in started:
            counts[shared.version].update(run_one(shared, c) for c in chosen if c.alone)
            rows = {}
            for case in chosen:
                if not case.alone:
                    rows.setdefault(case.row, []).append(case)
            files += [(shared, cases) for cases in rows.values()]
        jobs = options.jobs + len(started) - 1  # most of a test is waiting
        with concurrent.futures.ThreadPoolExecutor(max(1, jobs)) as pool:
            outcomes = pool.map(lambda file: [run_one(file[0], c) for c in file[1]], files)
            for (shared, _), file in zip(files, outcomes):
                counts[shared.version].update(file)
    for version in versions:
        print(f'-- Apache Kafka {version}: {in_words(counts[version])}')
    print(f'{time.monotonic() - begin:.0f} s', flush=True)
    return sum(counts.values(), collections.Counter())


def chosen_for(options, version):
    """Whatever a release can show if it was asked for by name; else see the text on top."""
    whole = options.kafka or version == jars.DEFAULT_VERSION
    return [c for c in CASES if any(fnmatch.fnmatch(c.name, p) for p in options.only or ['*'])
            and c.fits(version) and (whole or c.everywhere)]


def in_words(counts):
    return ', '.join(f'{counts[k]} {k}' for k in ('passed', 'failed', 'skipped'))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for option, what in PROGRAMS.values():
        parser.add_argument('--' + option, metavar='PATH', help=what)
    parser.add_argument('--kafka', metavar='VERSION', action='append',
                        help='all the tests on this release; may be repeated')
    parser.add_argument('--only', metavar='PATTERN', action='append',
                        help='tests whose name matches, e.g. "lock*"; may be repeated')
    parser.add_argument('--list', action='store_true', help='print the names of the tests')
    parser.add_argument('--jobs', type=int, default=3, help='files of tests side by side')
    parser.add_argument('--strict', action='store_true', default=bool(os.environ.get('CI')),
                        help='a skip is a failure (default in CI)')
    return parser.parse_args()


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is closed
    # A shell's background job ignores SIGINT, and so would each program of ours: a JVM never ends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    versions = options.kafka or jars.VERSIONS
    if options.list:
        for version in versions:
            print(f'== Apache Kafka {version}')
            print('\n'.join(f'{c.name}: {c.about}' for c in chosen_for(options, version)))
        return 0
    counts = collections.Counter()
    # What is to be seen whole is not disturbed by others.
    whole = options.kafka or [jars.DEFAULT_VERSION]
    others = [v for v in versions if v not in whole]
    for version in whole:
        counts += run_together(options, [version])
    if others:
        counts += run_together(options, others)
    print(in_words(counts))
    return 1 if counts['failed'] or options.strict and counts['skipped'] else 0


if __name__ == '__main__':
    sys.exit(main())
