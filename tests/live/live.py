# SPDX-License-Identifier: Apache-2.0
"""What the live tests work with: a broker of one version, its topics, and the programs to run."""
import copy
import shlex
import threading

import jars
import kafka
from client import Cat, Skip
from registry import TOPICS


# The programs under test: the option that names each, and what it is.
PROGRAMS = {
    'cat': ('kshare-cat', 'the program under test'),
    'tiny': ('kshare-cat-tiny', 'the same with Tiny limits'),
    'worker': ('worker', 'an explicit member that keeps a ledger'),
    'worker_tiny': ('worker-tiny', 'the same with Tiny limits'),
    'worker_2_links': ('worker-2-links', 'the same with Default limits but for links_max'),
    'worker_3_links': ('worker-3-links', 'the same'),
    'cat_aarch64': ('cat-aarch64', 'kshare-cat for 64-bit ARM, behind its emulator'),
    'cat_armhf': ('cat-armhf', 'the same for 32-bit ARM'),
    'explicit_ack': ('explicit-ack', 'the example'),
}


class Shared:
    """What all the tests share: broker, admin client, filled topics, names already taken."""

    def __init__(self, options, version):
        self.version = version
        self.programs = {which: getattr(options, option.replace('-', '_'))
                         for which, (option, _) in PROGRAMS.items()}
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
                     'reset': 'share.auto.offset.reset',
                     # From 4.3 on:
                     'attempts': 'share.delivery.count.limit',
                     'renewals': 'share.renew.acknowledge.enable'}

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

    def program(self, which, *arguments, pipe=False, before=()):
        """Runs one of PROGRAMS with these arguments; before: of a command that runs it."""
        path = self._shared.programs[which]
        if not path:
            raise Skip(f'--{PROGRAMS[which][0]} not given')
        return self.opened(Cat([*before, *shlex.split(path), *arguments], pipe=pipe))

    def cat(self, which, group, topic, *arguments, pipe=False):
        return self.program(which, '-b', self.broker.bootstrap, '-g', group, '-t', topic,
                            *arguments, pipe=pipe)

    def worker(self, which, group, topics, *arguments, **more):
        """Runs worker.cpp, as one of PROGRAMS; arguments: its NAME=VALUE."""
        return self.program(which, self.broker.bootstrap, group, ','.join(topics), *arguments,
                            **more)

    def java(self, group, topic, *arguments):
        """The same command line carried out by Kafka's own share consumer."""
        classes = jars.classpath('JavaShare.java')
        return self.opened(Cat(['java', '-Xmx256m', *jars.LOG_FLAGS, '-cp', classes, 'JavaShare',
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
