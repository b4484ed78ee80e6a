# SPDX-License-Identifier: Apache-2.0
"""Three brokers while records flow: one is killed, one freezes, a topic goes, another grows."""
import signal
import time

from cases_many import MOVE_S, READY_S
from cases_frozen import KEEPING
from checks import check_settled, members_of
from client import check, wait_until
from ledger import Ledger, now
from registry import case
from three import ROW, Flow, append_time, cluster_of  # noqa: F401

CLOSE_MS = 5000
POLL_S = 1  # what has nothing to do with the harm waits for a poll of half of it at most
LOCK_S = 2
FENCED_S = 5  # by then the controller has replaced a node that is not heard of


def steady_place(live):
    """The cluster with nothing but leaders of topics on nodes 2 and 3."""
    three = cluster_of(live)
    live = live.at(three)
    three.coordinators_on(1)
    live.warm()
    return three, live


def led_by(live, node, *topics):
    return {(t, p) for t in topics for p, n in live.admin.leaders(t).items() if n == node}


def check_others(flow, topic, its, bound_s=POLL_S):
    flow.check_lag(bound_s, 'partitions of others', lambda *_: (),
                   lambda *place: place[0] == topic and place not in its)


def check_hurt(live, flow, its, replaced, away):
    """Nobody has waited longer than he had to. replaced, away: from when until when.

    flow.topics: one whose partitions have no copies, and one with copies everywhere.
    """
    alone, copied = flow.topics
    check_others(flow, alone, its)
    # A record is for nobody before all replicas have it, so that all of these wait for the dead.
    flow.check_lag(MOVE_S, 'those that have copies', lambda *_: [replaced],
                   lambda topic, _: topic == copied)
    flow.check_lag(READY_S, 'those that were without a leader', lambda *_: [away],
                   lambda *place: place in its and place[0] == alone)
    for topic in flow.topics:
        check_settled(live, flow.group, topic, 10)


@case()
def a_broker_is_killed_while_records_flow(live):
    """SIGKILL, then started again: nothing lost, the others are not held up, its own go on."""
    three, live = steady_place(live)
    alone = live.topic('dead', 6, configs=append_time())
    copied = live.topic('dead', 6, replicas=3, configs=append_time())
    flow = Flow(live, [alone, copied])
    its = led_by(live, 3, alone, copied)
    three.node(3).kill()
    killed = now()
    moved = three.wait_leaders(copied, lambda ids: not ids & {3, -1})
    three.node(3).start()
    ready = now()
    led = three.wait_leaders(alone, lambda ids: -1 not in ids)
    time.sleep(1)
    flow.end()
    live.note(f'moved after {moved - killed:.1f} s, down {ready - killed:.1f} s, '
              f'led again {led - ready:+.2f} s')
    check_hurt(live, flow, its, (killed, moved), (killed, ready))


@case()
def a_broker_freezes_beyond_the_request_timeout(live):
    """SIGSTOP for 6 s: given up after 2 s, replaced by the controller after 4, back after 6."""
    three, live = steady_place(live)
    alone = live.topic('stiff', 6, configs=append_time())
    copied = live.topic('stiff', 6, replicas=3, configs=append_time())
    flow = Flow(live, [alone, copied], 'request.timeout.ms=2000')
    its = led_by(live, 3, alone, copied)
    three.node(3).pause()
    frozen = now()
    time.sleep(6)
    three.node(3).resume()
    resumed = now()
    led = three.wait_leaders(alone, lambda ids: -1 not in ids)
    time.sleep(1)
    flow.end()
    live.note(f'led again {led - resumed:+.2f} s')
    check('no answer in time' in flow.worker.err(), 'no request has timed out')
    check_hurt(live, flow, its, (frozen, frozen + FENCED_S), (frozen, resumed))


@case()
def a_topic_is_made_anew_while_records_flow(live):
    """Deleted with records in hand, made again: told, the new one is read, others are exact."""
    three, live = steady_place(live)
    beside = live.topic('beside', 3, configs=append_time())
    anew = live.topic('anew', 3, configs=append_time())
    flow = Flow(live, [beside, anew], *KEEPING, losing=[anew],
                group=live.group('anew', heartbeat_ms=1000, lock_ms=LOCK_S * 1000))
    time.sleep(0.5)
    live.admin.delete_topic(anew)
    time.sleep(1.5)
    born = now()
    live.admin.create_topic(anew, 3, configs=append_time())

    def is_old(place, delivery):
        return place[0] == anew and delivery.made < born

    def read(count):
        ledger = Ledger([flow.worker])
        gone = ledger.forget(is_old)
        return gone and sum(place[0] == anew for place in ledger.deliveries) >= count
    wait_until(lambda: read(1), 20, 'records of the new topic')
    live.note(f'the first new record after {now() - born:.1f} s')
    time.sleep(1)
    flow.stop_producing()
    total = sum(live.admin.end_offsets(anew).values())
    wait_until(lambda: read(total), 20, f'{total} new records')
    time.sleep(LOCK_S)
    flow.worker.stop()
    flow.ledger = ledger = Ledger([flow.worker])
    report, said = flow.worker.report(), ledger.says('accept')
    failed = report['acks_failed'] + report['acks_unknown']
    live.note(f'{ledger.forget(is_old)} old records, {total} new, {failed} acks failed')
    ledger.check_said('lock_lost')
    ledger.check_every_record(live, [beside, anew])
    again = len(ledger.all()) - len(ledger.deliveries)
    check(again <= failed, f'{again} came again, {failed} acks failed')
    check(failed > 0, 'no acknowledgement of the deleted topic has failed')
    check(report['acks_ok'] + failed == said, f'{said} accepted, but {report}')
    # The broker answers the whole request with UNKNOWN_SERVER_ERROR (4.3.1), and what it has given
    # out with it stays locked.
    check_others(flow, beside, (), LOCK_S + POLL_S)
    for topic in flow.topics:
        check_settled(live, flow.group, topic)


@case()
def partitions_are_added_while_records_flow(live):
    """2 become 6 on three leaders: all are read, each record once, the old ones do not wait."""
    three, live = steady_place(live)
    topic = live.topic('grow', 2, configs=append_time())
    flow = Flow(live, [topic])
    live.admin.add_partitions(topic, 6)
    asked = now()
    flow.widen(topic)

    def has_all():
        return [m['assignment'].get(topic) for m in members_of(live, flow.group)] == [
            list(range(6))]
    wait_until(has_all, 20, 'the new partitions assigned')
    assigned = now()
    time.sleep(2)
    flow.end()
    live.note(f'assigned after {assigned - asked:.1f} s')
    flow.ledger.check_exact(live, flow.group, [topic])
    check_others(flow, topic, {(topic, p) for p in range(2, 6)})
    flow.check_lag(MOVE_S, 'new ones', lambda *_: [(asked, assigned)], lambda _, p: p >= 2)


@case()
def close_while_the_coordinator_is_dead(live):
    """The leaders live: all acknowledgements in hand count; it ends by its time-out."""
    three = cluster_of(live)
    live = live.at(three)
    three.coordinators_on(1)
    three.lead_alone('__consumer_offsets', 2)
    live.warm()
    topic = live.topic('headless', 2)
    for partition, node in (0, 1), (1, 3):
        live.admin.move_leader(topic, partition, node)
    three.wait_leaders(topic, lambda ids: ids == {1, 3})
    group = live.group('headless')
    live.admin.produce(topic, count=100)
    worker = live.worker('worker', group, [topic], 'hold=1', 'late=100', 'accept=0',
                         'late_ms=1500', f'close_ms={CLOSE_MS}', 'close=2')
    worker.wait_lines(200)  # take, late
    check(' accept' not in worker.out().decode(), 'accepted too early')
    three.node(2).kill()
    worker.send(signal.SIGTERM)
    code = worker.wait(20)
    ledger, report = Ledger([worker]), worker.report()
    (result, ms), second = ledger.closed
    live.note(f'closed after {ms} ms: {result}, exit code {code}; again: {second}')
    check(ms < CLOSE_MS, f'close took {ms} ms')
    check(second == (result, 0), f'closed again: {second}')
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    ledger.check_deliveries()
    ledger.check_counters(acks_ok=100)
    three.node(2).start()
    check_settled(live, group, topic, 20)
