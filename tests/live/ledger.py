# SPDX-License-Identifier: Apache-2.0
"""What workers (worker.cpp) wrote down, and whether it adds up.

A place is (topic, partition, offset). A delivery is over for good once the record was accepted or
rejected; whatever else became of it, the record comes again with a count one higher, until the
delivery limit.
"""
import collections
import pathlib
import re
import time

from checks import check_settled, everything
from client import check

STATUS_HPP = pathlib.Path(__file__).resolve().parents[2] / 'include/kshare/base/status.hpp'
FINAL = ('accept', 'reject')
ACKS = (*FINAL, 'release')
DELIVERY_LIMIT = 5  # the broker's own


def names_of_errors():
    """The enumerators of kshare::Errc, in order."""
    body = re.search(r'enum class Errc[^{]*{(.*?)};', STATUS_HPP.read_text(), re.S)[1]
    return re.findall(r'^\s*(\w+)', re.sub(r'//.*', '', body), re.M)


ERRORS = names_of_errors()


def now():
    """Seconds on the clock of the workers."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


AHEAD = time.time() - now()  # the clock of timestamps


class Delivery:
    """One time that a record was handed out, and [(word, name of its Errc)] said about it."""

    def __init__(self, count, worker, number, ms, timestamp, leader_epoch):
        self.count = count
        self.at = ms / 1000  # on the clock of now()
        self.made = timestamp / 1000 - AHEAD
        self.leader_epoch = leader_epoch
        self.order = worker, number  # the number grows with each that a worker takes
        self.said = []

    def word(self):
        """The last that the worker's consumer took: a word that is refused changes nothing."""
        taken = [word for word, result in self.said if result == 'ok']
        return taken[-1] if taken else None

    def is_final(self):
        return self.word() in FINAL

    def __repr__(self):
        return f'{self.count}: ' + ', '.join('/'.join(pair) for pair in self.said)


class Commit:
    """One commit of a worker: the name of its Errc, and how long it took.

    rows: {(topic, partition): (records, name of its Errc)}, as it was told. acked: {(topic,
    partition): acknowledgements} that the worker's consumer took since the commit before.
    """

    def __init__(self, name, ms, acked):
        self.name = name
        self.ms = ms
        self.acked = acked
        self.rows = {}


class Ledger:
    """The ledgers of all the workers of a group, together. `seeds` are named when it fails."""

    def __init__(self, workers):
        self.workers = workers
        self.seeds = [a for w in workers for a in w.command if a.startswith('seed=')]
        self.deliveries = collections.defaultdict(list)
        self.commits = []
        self.unsubscribed = []
        self.closed = []
        for i, worker in enumerate(workers):
            self._read(i, worker.lines())
        for deliveries in self.deliveries.values():
            deliveries.sort(key=lambda d: d.count)

    def _read(self, worker, lines):
        mine = {}
        acked = collections.Counter()
        for line in lines:
            word, *rest = line.split()
            if word == 'commit':
                self.commits.append(Commit(ERRORS[int(rest[0])], int(rest[2]), acked))
                acked = collections.Counter()
                continue
            if word == 'result':
                self.commits[-1].rows[rest[0], int(rest[1])] = int(rest[2]), ERRORS[int(rest[3])]
                continue
            if word == 'close':
                self.closed.append((ERRORS[int(rest[0])], int(rest[2])))
                continue
            if word in ('unsubscribe', 'subscribe'):
                self.unsubscribed.append(ERRORS[int(rest[0])])
                continue
            place, number = (rest[0], int(rest[1]), int(rest[2])), int(rest[4])
            if word == 'take':
                mine[number] = Delivery(int(rest[3]), worker, number, *map(int, rest[5:]))
                self.deliveries[place].append(mine[number])
            else:
                self.check(number in mine, f'{line} without its take')
                mine[number].said.append((word, ERRORS[int(rest[5])] if rest[5:] else 'ok'))
                if word in ACKS and mine[number].said[-1][1] == 'ok':
                    acked[place[:2]] += 1

    def check(self, condition, message):
        check(condition, ', '.join([message, *self.seeds]))

    def all(self):
        return [d for deliveries in self.deliveries.values() for d in deliveries]

    def forget(self, which):
        """Without the deliveries for which which(place, delivery) holds; returns their number."""
        before = len(self.all())
        for place in list(self.deliveries):
            kept = [d for d in self.deliveries.pop(place) if not which(place, d)]
            if kept:
                self.deliveries[place] = kept
        return before - len(self.all())

    def says(self, word, result='ok'):
        """How often it was said with this result."""
        return sum(d.said.count((word, result)) for d in self.all())

    def accepted(self):
        return {place for place, deliveries in self.deliveries.items()
                if deliveries[-1].word() == 'accept'}

    # -- checks

    def check_every_record(self, live, topics):
        """Each record of these topics was taken, and nothing else."""
        expected = {(t, p, o) for t in topics
                    for p, o in everything(live.admin.end_offsets(t))}
        wrong = sorted(expected ^ set(self.deliveries))
        self.check(not wrong, f'{len(self.deliveries)} of {len(expected)} records taken; '
                   f'wrong: {wrong[:5]}')

    def check_deliveries(self, attempts=DELIVERY_LIMIT):
        """Counts 1, 2, 3, ... without a hole; nothing after an end; an end, or the limit.

        Ranges for which Limits::lots_max has no row go back unseen, which may cost a delivery.
        """
        given_back = any('more than Limits::lots_max' in w.err() for w in self.workers)
        for place, deliveries in sorted(self.deliveries.items()):
            counts = [d.count for d in deliveries]
            whole = counts == list(range(1, len(counts) + 1))
            self.check(whole or (given_back and counts == sorted(set(counts))),
                       f'{place} has the delivery counts {counts}: {deliveries}')
            self.check(all(a.order < b.order for a, b in zip(deliveries, deliveries[1:])
                           if a.order[0] == b.order[0]), f'{place} came in disorder: {deliveries}')
            self.check(not any(d.is_final() for d in deliveries[:-1]),
                       f'{place} came again after its end: {deliveries}')
            self.check(deliveries[-1].is_final() or counts[-1] == attempts,
                       f'{place} has no end: {deliveries}')

    def check_said(self, *allowed):
        """No call failed but with one of these names of Errc."""
        other = [(place, d) for place, deliveries in self.deliveries.items() for d in deliveries
                 if any(result not in ('ok', *allowed) for _, result in d.said)]
        self.check(not other, f'{len(other)} acknowledgements refused: {other[:5]}')

    def check_counters(self, **others):
        """The workers' counters, added up, say the same. others: those that differ, on purpose."""
        reports = [worker.report() for worker in self.workers]
        released, rejected = self.says('release'), self.says('reject')
        expected = {
            'records': len(self.all()),
            'redelivered': sum(1 for d in self.all() if d.count > 1),
            'acks_ok': self.says('accept') + released + rejected,
            'released': released, 'rejected': rejected, 'renewed': self.says('renew'),
            'acks_failed': 0, 'acks_unknown': 0, 'renew_failed': 0, **others}
        for name, wanted in expected.items():
            have = sum(report[name] for report in reports)
            self.check(wanted is None or have == wanted, f'{name}={have}, not {wanted}')

    def check_exact(self, live, group, topics, attempts=DELIVERY_LIMIT):
        """Everything there is to be checked when no call was meant to fail."""
        self.check_said()
        self.check_every_record(live, topics)
        self.check_deliveries(attempts)
        self.check_counters()
        for topic in topics:
            check_settled(live, group, topic)
