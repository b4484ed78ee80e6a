# SPDX-License-Identifier: Apache-2.0
"""The list of live tests, and the topics that several of them read."""
import dataclasses
import sys
import typing

CASES = []


@dataclasses.dataclass
class Case:
    name: str
    about: str
    run: typing.Callable
    needs: tuple
    since: tuple
    before: tuple
    alone: bool
    everywhere: bool

    @property
    def row(self):
        """Tests of one row run one after the other: a file, or those that share a place."""
        return getattr(sys.modules[self.run.__module__], 'ROW', self.run.__module__)

    def fits(self, version):
        """Whether a broker of this version can show it at all."""
        return self.since <= tuple(int(n) for n in version.split('.')[:2]) < self.before


def case(*needs, since=(4, 1), before=(9, 9), alone=False, everywhere=False):
    """Makes a function a test; its name says what is seen.

    needs: topics of TOPICS to fill beforehand. since: the first Kafka release that can do it.
    before: the first that no longer does. alone: not beside other tests, as it measures.
    everywhere: it can tell one release from another, so that it runs on each of them.
    """
    def add(function):
        CASES.append(Case(function.__name__, (function.__doc__ or '').split('\n')[0], function,
                          needs, since, before, alone, everywhere))
        return function
    return add


def _fill(partitions, **what):
    def start(admin, topic):
        admin.create_topic(topic, partitions)
        return admin.submit('produce', topic=topic, **what)
    return start


# 5,000 records of 10 to 650 bytes in one batch.
ONE_BATCH = {'count': 5000, 'size': 10, 'size_to': 650, 'batch_size': 1_000_000,
             'linger_ms': 60_000}

# Read by several tests, each with a group of its own; never changed once full.
TOPICS = {
    'million': _fill(4, count=1_000_000, size=100),
    'hundred-thousand': _fill(4, count=100_000, size=100),
    # Far below max.message.bytes, far above any slot of the Tiny build.
    'one-batch': _fill(1, **ONE_BATCH),
}
