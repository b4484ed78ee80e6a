# SPDX-License-Identifier: Apache-2.0
"""A day in a minute: members of all kinds come and go at random, brokers fail, records flow."""
import concurrent.futures
import os
import random
import signal
import time

from checks import check_settled, everything
from client import check
from ledger import FINAL, Ledger, now
from registry import case
from three import ROW, append_time, cluster_of  # noqa: F401

DAY_S = 60
MEMBERS = 4  # of kshare at once, and one of Java beside them
KINDS = ('worker', 'worker', 'worker_tiny')


class Member:
    """One run of a worker or of the Java member, and whether it was killed."""

    def __init__(self, kind, process):
        self.kind = kind
        self.process = process
        self.killed = False
        self.leaving = False

    def end(self, killed=False):
        self.killed, self.leaving, self.left_at = killed, True, now()
        self.process.send(signal.SIGKILL if killed else signal.SIGTERM)


class Day:
    """Two topics: one with copies on all nodes, one that only node 1 has, which nothing happens to.

    What happens when is drawn from the seed beforehand; KSHARE_SEED gives one again.
    """

    def __init__(self, live, three):
        self.live = live
        self.three = three
        self.seed = int(os.environ.get('KSHARE_SEED') or random.SystemRandom().randrange(10**6))
        live.note(f'KSHARE_SEED={self.seed}')
        self.random = random.Random(self.seed)
        self.copied = live.topic('day', 6, replicas=3, configs=append_time())
        self.steady = live.topic('steady', 2, configs=append_time())
        three.lead_alone(self.steady, 1)
        # With a copy on a frozen node it would wait for that node, and so would its partitions.
        three.lead_alone('__share_group_state', 1)
        self.group = self._group()
        self.members = []
        self.faults = []
        self.hurt = []  # (from when, to when) a node is; it may be the coordinator

    def _group(self):
        """Its coordinator is on the node that goes down."""
        while True:
            group = self.live.group('day', lock_ms=5000, session_ms=6000, heartbeat_ms=1000,
                                    attempts=10)
            if self.three.coordinator_of(group) == 2:
                return group

    # -- the plan

    def plan(self):
        """[(when, what to do, a number drawn for it)], in order."""
        draw = self.random
        steps = [(0, self.join, 0), (0, self.join, 0.9), (0, self.java_joins, 0)]
        at = 2
        while at < DAY_S - 4:
            steps.append((at, draw.choice([self.join, self.leave, self.leave]), draw.random()))
            at += draw.uniform(1, 3)
        middle = draw.uniform(24, 32)
        steps += [(middle, self.java_leaves, 0), (middle + 2, self.java_joins, 0),
                  (draw.uniform(8, 14), self.restart, draw.random()),
                  (draw.uniform(36, 42), self.freeze, draw.uniform(3, 7))]
        return sorted(steps, key=lambda step: step[0])

    def alive(self, java=False):
        return [m for m in self.members if not m.leaving and (m.kind == 'java') == java]

    def join(self, number):
        if len(self.alive()) == MEMBERS:
            return self.leave(number)
        kind = KINDS[int(number * len(KINDS))]
        self.members.append(Member(kind, self.live.worker(
            kind, self.group, [self.copied, self.steady], f'seed={len(self.members)}', 'hold=10',
            'idle_ms=120000', 'request.timeout.ms=4000')))

    def leave(self, number):
        alive = self.alive()
        if len(alive) == 1:
            return self.join(number)
        alive[int(number * 1000) % len(alive)].end(killed=number < 0.5)

    def java_joins(self, _):
        process = self.live.java(self.group, f'{self.copied},{self.steady}', '-m', 'explicit',
                                 '-f', '%t %p %o %d\\n')
        self.members.append(Member('java', process))

    def java_leaves(self, _):
        for member in self.alive(java=True):
            member.end()

    def restart(self, number):
        """Node 2, which is the group's coordinator, killed or stopped in order."""
        node = self.three.node(2)
        begin = now()
        (node.kill if number < 0.5 else node.stop)()
        time.sleep(1)
        node.start()
        self.hurt.append((begin, now() + 5))

    def freeze(self, seconds):
        node = self.three.node(3)
        begin = now()
        node.pause()
        time.sleep(seconds)
        node.resume()
        self.hurt.append((begin, now() + 5))

    # -- the day

    def run(self):
        flows = [self.live.admin.start_flow(t, every_ms=10) for t in (self.copied, self.steady)]
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for at, step, number in self.plan():
                time.sleep(max(0, start + at - time.monotonic()))
                if step in (self.restart, self.freeze):
                    self.faults.append(pool.submit(step, number))
                else:
                    step(number)
            for fault in self.faults:
                fault.result()
        time.sleep(max(0, start + DAY_S - time.monotonic()))
        for topic, flow in zip((self.copied, self.steady), flows):
            self.live.admin.stop_flow(topic)
            flow.result(60)
        self.expected = {(t, *place) for t in (self.copied, self.steady)
                         for place in everything(self.live.admin.end_offsets(t))}
        ended = now()
        self.wait_handled()
        self.live.note(f'the last of {len(self.expected)} records {now() - ended:.1f} s after')
        for member in self.alive() + self.alive(java=True):
            member.end()
        for member in self.members:
            member.process.wait(30)

    def wait_handled(self):
        """Everything was accepted by a worker or printed by a Java member."""
        deadline = time.monotonic() + 40
        while True:
            self.read()
            handled = {place for place, all_of_it in self.ledger.deliveries.items()
                       if any(d.is_final() for d in all_of_it)} | set(self.java)
            missing = self.expected - handled
            if not missing:
                return
            check(time.monotonic() < deadline, f'seed {self.seed}: {len(missing)} of '
                  f'{len(self.expected)} records not handled: {sorted(missing)[:5]}')
            time.sleep(0.5)

    def read(self):
        """The ledger, the members in its order, and what Java members printed: {place: counts}."""
        self.keepers = [m for m in self.members if m.kind != 'java']
        self.ledger = Ledger([m.process for m in self.keepers])
        self.java = {}
        for member in self.members:
            for line in member.process.lines() if member.kind == 'java' else ():
                topic, partition, offset, count = line.split()
                place = topic, int(partition), int(offset)
                self.java.setdefault(place, []).append(int(count))

    # -- the accounts

    def check(self):
        self.read()
        self.ledger.check_said('lock_lost')
        foreign = (set(self.ledger.deliveries) | set(self.java)) - self.expected
        check(not foreign, f'{len(foreign)} records that nobody produced: {sorted(foreign)[:5]}')
        again = self.taken_again()
        for number, member in enumerate(self.keepers):
            if member.killed:
                continue
            code = member.process.exit_code
            # close() takes 10 s at most
            alone = any(begin - 10 <= member.left_at <= end for begin, end in self.hurt)
            check(code == 0 or code == 2 and alone, f'{member.kind} {number} ended with {code}')
            report = member.process.report()
            excused = report['acks_failed'] + report['acks_unknown']
            places = again.get(number, [])
            check(len(places) <= excused, f'{len(places)} records of {member.kind} {number} came '
                  f'again, {excused} acks failed: {self.told_of(places)}')
            still = [place for place in places if place[0] == self.steady]
            if member.kind == 'worker':
                check(not still, f'{len(still)} records came again whose partition, member and '
                      f'broker were sound: {self.told_of(still)}')

    def taken_again(self):
        """{number of a worker: places that it accepted and that somebody got later}.

        A member may hand out what it had fetched long before, behind a lock that ran out on its
        way: then its count is lower. (As high: a broker takes back the count of what a member that
        goes away had.) What Java printed has no time, so its count must be higher.
        """
        again = {}
        for place, deliveries in self.ledger.deliveries.items():
            for d in deliveries:
                later = any(o.at > d.at and o.count >= d.count for o in deliveries) or any(
                    count > d.count for count in self.java.get(place, ()))
                if d.word() in FINAL and later:
                    again.setdefault(d.order[0], []).append(place)
        return again

    def told_of(self, places):
        """The first of them, with all that is known of each."""
        hurt = ', '.join(f'{a:.1f} to {b:.1f}' for a, b in self.hurt)
        return f'nodes were hurt from {hurt}; ' + '; '.join(
            f'{place}: ' + ', '.join(f'{d!r} at {d.at:.1f} by {d.order[0]}'
                                     for d in self.ledger.deliveries[place])
            + f', Java {self.java.get(place, [])}' for place in sorted(set(places))[:5])

    def describe(self):
        kinds = [m.kind for m in self.members]
        killed = sum(m.killed for m in self.members)
        twice = (len(self.ledger.all()) + sum(map(len, self.java.values()))
                 - len(set(self.ledger.deliveries) | set(self.java)))
        return (f'{kinds.count("worker")} + {kinds.count("worker_tiny")} tiny + '
                f'{kinds.count("java")} Java members, {killed} killed, {len(self.java)} records '
                f'by Java, {twice} deliveries too many')


@case(since=(4, 3))
def a_day_in_a_minute(live):
    """Every record is handled; again only if a member was killed or told that an ack has failed."""
    three = cluster_of(live)
    day = Day(live.at(three), three)
    day.run()
    day.check()
    live.note(day.describe())
    for topic in (day.copied, day.steady):
        check_settled(day.live, day.group, topic, 10)
