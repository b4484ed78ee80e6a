# SPDX-License-Identifier: Apache-2.0
"""Three brokers: several leaders, a leader that moves, one that no longer answers."""
import signal
import time

from checks import check_complete, check_settled, members_of
from client import check, wait_until
from ledger import Ledger, now
from registry import case
from three import ROW, Flow, append_time, cluster_of, taken  # noqa: F401


def read_from_three(live, which, count):
    three = cluster_of(live)
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
def acknowledgements_after_the_leader_moved(live):
    """Made for a leader that is none any more: refused and told; the records come again.

    With the same delivery count: the new leader does not know that they had been handed out.
    """
    three = cluster_of(live)
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
    told = report['acks_failed'] + report['acks_unknown']
    check(told == 100, f'{told} failures told, none of the 100 could count')
    again = len(ledger.all()) - 100
    check(again == told, f'{again} came again, {told} failures told')
    check({d.count for d in ledger.all()} == {1}, f'{report["redelivered"]} with a higher count')
    check_settled(live, group, topic)


@case()
def records_tell_the_epoch_of_their_leader(live):
    """Ten before the leader moves and ten after it: those of the new leader have a higher one."""
    three = cluster_of(live)
    live = live.at(three)
    topic, group = live.topic('epochs'), live.group('epochs')
    live.admin.produce(topic, count=10)
    three.lead_alone(topic, live.admin.leaders(topic)[0] % 3 + 1)
    live.admin.produce(topic, count=10, first=10)
    worker = live.worker('worker', group, [topic], 'count=20', 'idle_ms=30000').succeed(40)
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    epochs = [ledger.deliveries[topic, 0, o][0].leader_epoch for o in range(20)]
    live.note(f'{epochs}')
    check(len(set(epochs[:10])) == 1, f'one leader, and the epochs {epochs[:10]}')
    check(0 <= max(epochs[:10]) < min(epochs[10:]), f'the leader moved, and the epochs {epochs}')


@case()
def others_flow_while_one_leader_is_frozen(live):
    """A broker that no longer answers holds up only its own partitions."""
    three = cluster_of(live)
    live = live.at(three)
    three.coordinators_on(1)
    live.warm()
    topic = live.topic('frozen', 3, configs=append_time())
    flow = Flow(live, [topic])
    stuck = next(p for p, node in live.admin.leaders(topic).items() if node == 2)
    frozen = now()
    three.node(2).pause()
    time.sleep(3)
    three.node(2).resume()
    resumed = now()
    time.sleep(0.5)
    flow.end()
    flow.check_lag(1.5, 'the others', lambda *_: (), lambda _, partition: partition != stuck)
    flow.check_lag(5, 'its own, once it was back', lambda *_: [(frozen, resumed)])


def before_a_leader_freezes(live):
    """The cluster, without coordinators on node 2, which is to freeze."""
    three = cluster_of(live)
    live = live.at(three)
    three.coordinators_on(1)
    live.warm()
    return three, live


def led_by_2(live, topic):
    return next(p for p, node in live.admin.leaders(topic).items() if node == 2)


@case(since=(4, 2))
def others_flow_while_a_frozen_leader_owes_much(live):
    """It has begun to give a batch with more records than records_max: it holds up only its own."""
    three, live = before_a_leader_freezes(live)
    topic = live.topic('owes', 3, configs=append_time())
    flow = Flow(live, [topic], 'work_ms=2')  # which takes more than flow, and a while for the batch
    stuck = led_by_2(live, topic)
    live.admin.produce(topic, partition=stuck, count=2000, size=350, batch_size=1_000_000,
                       linger_ms=60_000)
    base, = (b[0] for b in three.node(2).batches(topic, stuck) if b[1] == 2000)

    def of_the_batch():
        return [o for _, p, o in taken(flow.worker)
                if int(p) == stuck and base <= int(o) < base + 2000]
    wait_until(of_the_batch, 10, 'records of the batch')
    three.node(2).pause()
    time.sleep(3)
    before = len(of_the_batch())
    three.node(2).resume()
    flow.end()
    live.note(f'{before} of the batch before')
    check(before < 500, f'it owed only {2000 - before}')
    flow.check_lag(1.5, 'the others', lambda *_: (), lambda _, partition: partition != stuck)


@case(since=(4, 2))
def others_flow_while_a_frozen_leader_is_to_renew(live):
    """Slow work until after the half of a lock, on records of a leader that froze."""
    three, live = before_a_leader_freezes(live)
    topic, group = live.topic('renew', 3), live.group('renew', lock_ms=10_000)
    stuck = led_by_2(live, topic)
    live.admin.produce(topic, partition=stuck, count=10)
    worker = live.worker('worker', group, [topic], 'idle_ms=90000', 'work_at=1', 'work_ms=5500')
    worker.wait_lines(1)
    for partition in {0, 1, 2} - {stuck}:
        live.admin.produce(topic, partition=partition, count=20)
    time.sleep(4)  # the controller replaces a node that is frozen for so long
    three.node(2).pause()
    wait_until(lambda: len(taken(worker)) >= 41, 20, 'records of others')
    time.sleep(1.5)
    three.node(2).resume()
    wait_until(lambda: len(Ledger([worker]).accepted()) == 50, 20, '50 accepted')
    check_settled(live, group, topic)
    worker.stop()
    ledger, report = Ledger([worker]), worker.report()
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    again = len(ledger.all()) - 50
    check(again <= report['acks_failed'] + report['acks_unknown'], f'{again} came twice')
    times = {(p, o): d[0].at for (_, p, o), d in ledger.deliveries.items()}
    worked = times[stuck, 0] + 5.5
    others = max(at for (p, _), at in times.items() if p != stuck) - worked
    its = min(at for (p, o), at in times.items() if p == stuck and o > 0) - worked
    live.note(f'after the work: others within {others:.2f} s, its own after {its:.2f} s')
    check(its > 1, 'its records have not waited for a renewal')
    check(others < 1, f'others have waited {others:.1f} s')


@case()
def close_beside_a_frozen_leader(live):
    """It is waited for until the time is over; the group is left all the same."""
    three, live = before_a_leader_freezes(live)
    topic, group = live.topic('close', 3), live.group('close')
    live.admin.produce(topic, count=30)
    worker = live.worker('worker', group, [topic], 'idle_ms=90000', 'close_ms=3000')
    wait_until(lambda: len(Ledger([worker]).accepted()) == 30, 20, '30 accepted')
    three.node(2).pause()
    worker.send(signal.SIGTERM)
    worker.wait(20)
    (result, ms), = Ledger([worker]).closed
    three.node(2).resume()  # the admin client may ask any of them
    live.note(f'closed after {ms} ms: {result}')
    check(not members_of(live, group), 'it is a member still')  # its session lasts 45 s
    check(2900 <= ms < 4000, f'close took {ms} ms')
