# SPDX-License-Identifier: Apache-2.0
"""Three brokers: several leaders, leaders that move, brokers that die."""
import time

import kafka
from checks import check_complete, check_settled, wait_members
from client import check, wait_until
from ledger import Ledger
from registry import case

PLACE = '%p %o\\n'


class Three:
    """A cluster of three that several tests use one after the other."""

    def __init__(self, live):
        self.cluster = kafka.Cluster(3, live.version)
        self.bootstrap = self.cluster.bootstrap
        self.cluster.start()
        self.admin = kafka.Admin(self.bootstrap)
        wait_until(lambda: self.admin.call('ping') == 3, 20, 'three brokers')
        live.at(self).warm()

    def lead_alone(self, topic, node):
        for partition in self.admin.leaders(topic):
            self.admin.move_leader(topic, partition, node)
        wait_until(lambda: set(self.admin.leaders(topic).values()) == {node}, 20,
                   f'all of {topic} on node {node}')

    def close(self):
        self.admin.close()
        self.cluster.close()


def read_from_three(live, which, count):
    three = live.once(Three)
    live = live.at(three)
    topic, group = live.topic('spread', 6), live.group('spread')
    leaders = set(live.admin.leaders(topic).values())
    check(len(leaders) == 3, f'leaders {leaders}')
    live.admin.produce(topic, count=count)
    cat = live.cat(which, group, topic, '-c', str(count), '-f', '%p %o %d\\n', '-J').succeed(60)
    live.note(f'{cat.report()["seconds"]} s')
    check_complete(live, topic, [(p, o) for p, o, _ in cat.pairs()])
    counts = {d for _, _, d in cat.pairs()}
    check(counts == {1}, f'delivery counts {sorted(counts)}')
    check_settled(live, group, topic)


@case()
def three_leaders(live):
    """Six partitions on three brokers: each record once."""
    read_from_three(live, 'cat', 60_000)


@case()
def more_leaders_than_links(live):
    """Tiny has one link for three leaders: they take turns, each record once with count 1."""
    read_from_three(live, 'tiny', 20_000)


@case()
def leader_moves_while_consuming(live):
    """The partition's only replica goes to another broker: nothing missing."""
    three = live.once(Three)
    live = live.at(three)
    topic, group = live.topic('moving'), live.group('moving')
    cat = live.cat('cat', group, topic, '-f', PLACE, '-J')
    live.admin.produce(topic, count=1000)
    cat.wait_lines(1000)
    first = live.admin.leaders(topic)[0]
    for step in range(1, 3):
        target = (first - 1 + step) % 3 + 1
        live.admin.move_leader(topic, 0, target)
        wait_until(lambda t=target: live.admin.leaders(topic)[0] == t, 15, 'the leader moved')
        start = time.monotonic()
        live.admin.produce(topic, count=1000, first=step * 1000)
        wait_until(lambda n=step: len(set(cat.pairs())) >= 1000 * (n + 1), 20,
                   f'{1000 * (step + 1)} different records')
        live.note(f'move {step}: all after {time.monotonic() - start:.1f} s')
    cat.stop()
    check_complete(live, topic, sorted(set(cat.pairs())))


@case()
def acknowledgements_after_the_leader_moved(live):
    """Made for a leader that is none any more: refused and told; the records come again.

    With the same delivery count: the new leader does not know that they had been handed out.
    """
    three = live.once(Three)
    live = live.at(three)
    topic, group = live.topic('acks-move'), live.group('acks-move', lock_ms=10_000)
    live.admin.produce(topic, count=100)
    worker = live.worker('worker', group, [topic], 'hold=100', 'late=100', 'accept=0',
                         'late_ms=3000')
    worker.wait_lines(100)
    three.lead_alone(topic, live.admin.leaders(topic)[0] % 3 + 1)
    check(' accept' not in worker.out().decode(), 'accepted too early')
    worker.succeed(40)
    ledger, report = Ledger([worker]), worker.report()
    live.note(', '.join(f'{report[k]} {k}' for k in (
        'records', 'redelivered', 'acks_ok', 'acks_failed', 'acks_unknown', 'expired')))
    ledger.check_every_record(live, [topic])
    check(len(ledger.accepted()) == 100, f'{len(ledger.accepted())} accepted')
    check(report['acks_ok'] >= 100, f'{report["acks_ok"]} acks ok')
    again = len(ledger.all()) - 100
    check(again <= report['acks_failed'] + report['acks_unknown'],
          f'{again} came again, {report["acks_failed"]} failures told')
    check_settled(live, group, topic)


@case()
def one_of_three_brokers_dies_and_returns(live):
    """Replicated topic, coordinators included: consumption goes on without it, and with it."""
    three = live.once(Three)
    live = live.at(three)
    topic = live.topic('replicated', 6, replicas=3)
    group = live.group('replicated', lock_ms=5000)
    cat = live.cat('cat', group, topic, '-f', PLACE, '-J')
    wait_members(live, group, 1)
    victim = three.cluster.nodes[2]
    total = 0
    for step in (None, victim.kill, victim.start):
        if step:
            step()
        start = time.monotonic()
        live.admin.produce(topic, count=6000, first=total)
        total += 6000
        wait_until(lambda: len(set(cat.pairs())) >= total, 45, f'{total} different records')
        live.note(f'{total} after {time.monotonic() - start:.1f} s')
    cat.stop()
    check_complete(live, topic, sorted(set(cat.pairs())))
    live.note(f'{cat.report()["records"] - total} twice')


@case()
def others_flow_while_one_leader_is_frozen(live):
    """A broker that no longer answers holds up only its own partitions."""
    three = live.once(Three)
    live = live.at(three)
    for internal in '__consumer_offsets', '__share_group_state':
        three.lead_alone(internal, 1)  # or the freezing would reach coordinators too
    topic, group = live.topic('frozen', 3), live.group('frozen')
    cat = live.cat('cat', group, topic, '-f', PLACE, '-X', 'request.timeout.ms=10000')
    wait_members(live, group, 1)
    live.admin.produce(topic, count=300)
    cat.wait_lines(300)
    stuck = next(p for p, node in live.admin.leaders(topic).items() if node == 2)
    three.cluster.nodes[1].pause()
    try:
        for partition in range(3):
            if partition != stuck:
                live.admin.produce(topic, count=1000, partition=partition,
                                   bootstrap=three.cluster.nodes[0].bootstrap)
        start = time.monotonic()
        cat.wait_lines(2300, 8)
        live.note(f'the others {time.monotonic() - start:.1f} s after')
    finally:
        three.cluster.nodes[1].resume()
    cat.stop()
