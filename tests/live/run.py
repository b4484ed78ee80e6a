#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Live tests: kshare_cat against a real Apache Kafka on loopback.

    run.py --kshare-cat PATH --kshare-cat-tiny PATH [--only PATTERN] [--kafka VERSION] [--bench]

One line a test, the last one "N passed, N failed, N skipped". A part that is missing (Java, Maven,
one of the two programs) is a skip for a user and, with --strict or in CI, a failure.
"""
import argparse
import collections
import concurrent.futures
import copy
import fnmatch
import os
import pathlib
import shlex
import signal
import sys
import threading
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


class Shared:
    """What all the tests share: broker, admin client, filled topics, names already taken."""

    def __init__(self, options):
        self.version = options.kafka
        self.programs = {'cat': options.kshare_cat, 'tiny': options.kshare_cat_tiny}
        self.broker = None
        self.admin = None
        self.kept = {}
        self._topics = {}
        self._names = {}
        self._lock = threading.Lock()

    def start(self):
        self.broker = kafka.Broker(self.version, name='shared broker')
        self.broker.launch()
        self.admin = kafka.Admin(self.broker.bootstrap)
        self.broker.start()

    def close(self):
        for thing in [*self.kept.values(), self.admin, self.broker]:
            if thing:
                thing.close()

    def name(self, base):
        with self._lock:
            self._names[base] = self._names.get(base, 0) + 1
            count = self._names[base]
        return base if count == 1 else f'{base}-{count}'

    def fill(self, names):
        """Starts to fill topics of TOPICS, side by side; returns one future for each."""
        with self._lock:
            for name in names:
                if name not in self._topics:
                    self._topics[name] = TOPICS[name](self.admin, name)
            return [self._topics[name] for name in names]


class Live:
    """What one test works with: a broker, its admin client, and the programs to run."""

    GROUP_CONFIGS = {'lock_ms': 'share.record.lock.duration.ms',
                     'session_ms': 'share.session.timeout.ms',
                     'heartbeat_ms': 'share.heartbeat.interval.ms',
                     'isolation': 'share.isolation.level',
                     'reset': 'share.auto.offset.reset'}

    def __init__(self, shared):
        self._shared = shared
        self.version = shared.version
        self.broker = shared.broker
        self.admin = shared.admin
        self._opened = []
        self._notes = []

    def at(self, place):
        """The same test at another place: `place` has a bootstrap address and an admin client."""
        other = copy.copy(self)
        other.broker = place
        other.admin = place.admin
        return other

    def once(self, make):
        """make(self), kept for later tests of the same file; closed at the end of the run."""
        if make not in self._shared.kept:
            self._shared.kept[make] = make(self)
        return self._shared.kept[make]

    def version_is_before(self, major, minor):
        return tuple(int(n) for n in self.version.split('.')[:2]) < (major, minor)

    def name(self, base):
        """`base` made unique within this run."""
        return self._shared.name(base)

    def shared_topic(self, name):
        """A topic of TOPICS, full. Tests must not change it."""
        for filled in self._shared.fill([name]):
            filled.result(120)
        return name

    def topic(self, base, partitions=1, **more):
        topic = self.name(base)
        self.admin.create_topic(topic, partitions, **more)
        return topic

    def group(self, base, **configs):
        """A fresh group that reads from the beginning; configs: lock_ms=1000 and the like."""
        group = self.name('group-' + base)
        self.admin.group_config(group, {
            'share.auto.offset.reset': 'earliest',
            **{self.GROUP_CONFIGS[k]: str(v) for k, v in configs.items()}})
        return group

    def program(self, which, *arguments, pipe=False):
        """Runs kshare_cat ('cat') or its Tiny build ('tiny') with these arguments."""
        path = self._shared.programs[which]
        if not path:
            raise Skip(f'--kshare-cat{"-tiny" if which == "tiny" else ""} not given')
        return self.opened(Cat([*shlex.split(path), *arguments], pipe=pipe))

    def cat(self, which, group, topic, *arguments, pipe=False):
        return self.program(which, '-b', self.broker.bootstrap, '-g', group, '-t', topic,
                            *arguments, pipe=pipe)

    def java(self, group, topic, *arguments):
        """The same command line carried out by Kafka's own share consumer."""
        classes = kafka.classpath('JavaShare.java')
        return self.opened(Cat(['java', '-Xmx256m', *kafka.LOG_FLAGS, '-cp', classes, 'JavaShare',
                                '-b', self.broker.bootstrap, '-g', group, '-t', topic, *arguments]))

    def warm(self):
        """Lets a cluster make its internal topics, so that no test waits for them.

        A group that comes too early for them is tried again by the broker only after 30 s; the
        next group need not wait that long.
        """
        topic = self.topic('warm')
        self.admin.produce(topic, count=1)
        for _ in range(5):
            cat = self.cat('cat', self.group('warm'), topic, '-c', '1')
            if cat.ends_within(6):
                return
            cat.kill()

    def opened(self, thing):
        """Something with close(), to be closed when the test ends."""
        self._opened.append(thing)
        return thing

    def note(self, text):
        """A measured value for the test's line."""
        self._notes.append(text)

    def notes(self):
        return ', '.join(self._notes)

    def close(self):
        while self._opened:
            self._opened.pop().close()

    def describe_failure(self):
        return '\n'.join(c.describe() for c in self._opened if isinstance(c, Cat))


def run_one(shared, case):
    """Runs one test and prints its line: 'passed', 'failed' or 'skipped'."""
    live = Live(shared)
    start = time.monotonic()
    text = detail = ''
    try:
        case.run(live)
        outcome = 'passed'
    except (Skip, kafka.Missing) as e:
        outcome, text = 'skipped', str(e)
    except (Failure, kafka.KafkaError) as e:
        outcome, text = 'failed', str(e)
        detail = live.describe_failure()
    except Exception:
        outcome, text = 'failed', 'unexpected'
        detail = traceback.format_exc(limit=-4) + live.describe_failure()
    live.close()
    notes = ', '.join(filter(None, [text, live.notes()]))
    line = f'{outcome:7} {case.name} ({time.monotonic() - start:.1f} s)'
    lines = [f'{line}: {notes}' if notes else line]
    lines += ['    ' + more for more in detail.splitlines()]
    print('\n'.join(lines), flush=True)
    return outcome


def run_all(shared, chosen, jobs):
    """First the tests that measure, one by one; then the files side by side, each in its order."""
    shared.start()
    shared.fill(sorted({name for case in chosen for name in case.needs}))
    if shared.programs['cat']:
        live = Live(shared)
        live.warm()
        live.close()
    outcomes = [run_one(shared, case) for case in chosen if case.alone]
    files = {}
    for case in chosen:
        if not case.alone:
            files.setdefault(case.run.__module__, []).append(case)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for file in pool.map(lambda cases: [run_one(shared, c) for c in cases], files.values()):
            outcomes += file
    return collections.Counter(outcomes)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kshare-cat', metavar='PATH', help='the program under test')
    parser.add_argument('--kshare-cat-tiny', metavar='PATH', help='the same with Tiny limits')
    parser.add_argument('--kafka', metavar='VERSION', default=kafka.DEFAULT_VERSION)
    parser.add_argument('--only', metavar='PATTERN', help='tests whose name matches, e.g. "lock*"')
    parser.add_argument('--list', action='store_true', help='print the names of the tests')
    parser.add_argument('--bench', action='store_true', help='CPU time beside the Java client')
    parser.add_argument('--jobs', type=int, default=3, help='files of tests side by side')
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
    shared = Shared(options)
    counts = collections.Counter()
    try:
        if options.bench:
            shared.start()
            bench.run(Live(shared))
            return 0
        counts = run_all(shared, chosen, options.jobs)
    except kafka.Missing as e:
        print(f'skipped everything: {e}')
        counts['skipped'] = len(chosen)
    finally:
        shared.close()
    passed, failed, skipped = (counts[k] for k in ('passed', 'failed', 'skipped'))
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or options.strict and skipped else 0


if __name__ == '__main__':
    sys.exit(main())
