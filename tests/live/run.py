#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Live tests: kshare_cat against a real Apache Kafka on loopback.

    run.py --kshare-cat PATH --kshare-cat-tiny PATH [--only PATTERN] [--kafka VERSION] [--bench]

One line a test, the last one "N passed, N failed, N skipped". A part that is missing (Java, Maven,
one of the two programs) is a skip for a user and, with --strict or in CI, a failure.
"""
import argparse
import fnmatch
import os
import pathlib
import shlex
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import bench  # noqa: E402
import kafka  # noqa: E402
import cases_records  # noqa: E402,F401
import cases_acks  # noqa: E402,F401
import cases_groups  # noqa: E402,F401
import cases_faults  # noqa: E402,F401
import cases_network  # noqa: E402,F401
import cases_cluster  # noqa: E402,F401
from client import Cat, Failure, Skip  # noqa: E402
from registry import CASES, TOPICS  # noqa: E402


class Live:
    """What a test works with: a broker, its admin client, and the programs to run."""

    def __init__(self, options):
        self.version = options.kafka
        self.programs = {'cat': options.kshare_cat, 'tiny': options.kshare_cat_tiny}
        self.broker = None
        self.admin = None
        self._topics = {}
        self._names = {}
        self._opened = []
        self._kept = {}
        self._notes = []

    # -- life of the shared broker

    def start(self):
        self.broker = kafka.Broker(self.version, name='shared broker')
        self.broker.launch()
        self.admin = kafka.Admin(self.broker.bootstrap)
        self.broker.start()

    def warm(self):
        """The first group of a cluster waits for internal topics: let it be none of the tests'."""
        self.admin.create_topic('warm')
        self.admin.produce('warm', count=1)
        group = self.group('warm')
        cat = self.cat('cat', group, 'warm', '-c', '1')
        try:
            cat.wait(30)
        finally:
            self.end_test()

    def close(self):
        self.end_test()
        for thing in self._kept.values():
            thing.close()
        if self.admin:
            self.admin.close()
        if self.broker:
            self.broker.close()

    # -- for the tests

    def name(self, base):
        """`base` made unique within this run."""
        self._names[base] = self._names.get(base, 0) + 1
        count = self._names[base]
        return base if count == 1 else f'{base}-{count}'

    def prepare(self, names):
        """Starts to fill shared topics, side by side."""
        for name in names:
            if name not in self._topics:
                self._topics[name] = TOPICS[name](self.admin, name)

    def shared(self, name):
        """A topic of TOPICS, full. Tests must not change it."""
        self.prepare([name])
        self._topics[name].result(120)
        return name

    def topic(self, base, partitions=1, admin=None, **more):
        topic = self.name(base)
        (admin or self.admin).create_topic(topic, partitions, **more)
        return topic

    def version_is_before(self, major, minor):
        return tuple(int(n) for n in self.version.split('.')[:2]) < (major, minor)

    def group(self, base, admin=None, **configs):
        """A fresh group that reads from the beginning; configs: lock_ms=1000 and the like."""
        group = self.name('group-' + base)
        names = {'lock_ms': 'share.record.lock.duration.ms',
                 'session_ms': 'share.session.timeout.ms',
                 'heartbeat_ms': 'share.heartbeat.interval.ms',
                 'limit': 'share.delivery.count.limit',
                 'isolation': 'share.isolation.level',
                 'reset': 'share.auto.offset.reset'}
        values = {'share.auto.offset.reset': 'earliest',
                  **{names[k]: str(v) for k, v in configs.items()}}
        (admin or self.admin).group_config(group, values)
        return group

    def program(self, which, *arguments, pipe=False):
        """Runs kshare_cat ('cat') or its Tiny build ('tiny') with these arguments."""
        path = self.programs[which]
        if not path:
            raise Skip(f'--kshare-cat{"-tiny" if which == "tiny" else ""} not given')
        return self.opened(Cat([*shlex.split(path), *arguments], pipe=pipe))

    def cat(self, which, group, topic, *arguments, pipe=False, broker=None):
        bootstrap = (broker or self.broker).bootstrap
        return self.program(which, '-b', bootstrap, '-g', group, '-t', topic, *arguments, pipe=pipe)

    def java(self, group, topic, *arguments):
        """The same command line carried out by Kafka's own share consumer."""
        classes = kafka.classpath('JavaShare.java')
        return self.opened(Cat(['java', '-Xmx256m', *kafka.LOG_FLAGS, '-cp', classes, 'JavaShare',
                                '-b', self.broker.bootstrap, '-g', group, '-t', topic, *arguments]))

    def opened(self, thing):
        """Something with close(), to be closed when the test ends."""
        self._opened.append(thing)
        return thing

    def once(self, make):
        """make(self), for all the tests that ask for it; closed at the end of the run."""
        if make not in self._kept:
            self._kept[make] = make(self)
        return self._kept[make]

    def note(self, text):
        """A measured value for the test's line."""
        self._notes.append(text)

    # -- for the runner

    def end_test(self):
        opened, self._opened = self._opened, []
        notes, self._notes = self._notes, []
        for thing in reversed(opened):
            thing.close()
        return ', '.join(notes)

    def describe_failure(self):
        return '\n'.join(c.describe() for c in self._opened if isinstance(c, Cat))


def run_one(live, case):
    """Runs one test and prints its line: 'passed', 'failed' or 'skipped'."""
    start = time.monotonic()
    detail = ''
    try:
        case.run(live)
        outcome, text = 'passed', ''
    except (Skip, kafka.Missing) as e:
        outcome, text = 'skipped', str(e)
    except (Failure, kafka.KafkaError) as e:
        outcome, text = 'failed', str(e)
        detail = live.describe_failure()
    except Exception:
        outcome, text = 'failed', 'unexpected'
        detail = traceback.format_exc(limit=-4) + live.describe_failure()
    seconds = time.monotonic() - start
    notes = ', '.join(filter(None, [text, live.end_test()]))
    print(f'{outcome:7} {case.name} ({seconds:.1f} s){": " + notes if notes else ""}', flush=True)
    if detail:
        print('\n'.join('    ' + line for line in detail.splitlines()), flush=True)
    return outcome


def run_all(live, chosen):
    needed = sorted({name for case in chosen for name in case.needs})
    live.start()
    live.prepare(needed)
    if live.programs['cat']:
        live.warm()
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    for case in chosen:
        counts[run_one(live, case)] += 1
    return counts


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kshare-cat', metavar='PATH', help='the program under test')
    parser.add_argument('--kshare-cat-tiny', metavar='PATH', help='the same with Tiny limits')
    parser.add_argument('--kafka', metavar='VERSION', default=kafka.DEFAULT_VERSION)
    parser.add_argument('--only', metavar='PATTERN', help='tests whose name matches, e.g. "lock*"')
    parser.add_argument('--list', action='store_true', help='print the names of the tests')
    parser.add_argument('--bench', action='store_true', help='CPU time beside the Java client')
    parser.add_argument('--strict', action='store_true', default=bool(os.environ.get('CI')),
                        help='a skip is a failure (default in CI)')
    return parser.parse_args()


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is closed
    pattern = options.only or '*'
    chosen = [c for c in CASES
              if fnmatch.fnmatch(c.name, pattern) and c.fits(options.kafka)]
    if options.list:
        print('\n'.join(f'{c.name}: {c.about}' for c in chosen))
        return 0
    live = Live(options)
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    try:
        if options.bench:
            return bench.run(live)
        counts = run_all(live, chosen)
    except kafka.Missing as e:
        print(f'skipped everything: {e}')
        counts['skipped'] = len(chosen)
    finally:
        live.close()
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**counts))
    return 1 if counts['failed'] or options.strict and counts['skipped'] else 0


if __name__ == '__main__':
    sys.exit(main())
