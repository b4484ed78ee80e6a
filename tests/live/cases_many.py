# SPDX-License-Identifier: Apache-2.0
"""Three brokers: few links and many, all in motion; assignments that are too large."""
import time

import kafka
from checks import check_settled, members_of, wait_members
from client import check, wait_until
from ledger import Ledger, now
from registry import case
from three import ROW, Flow, append_time, cluster_of, longest_waits, taken  # noqa: F401

MOVE_S = 2  # after a leader has moved, and
HELD_S = 3  # a lock
READY_S = 5  # after a broker is back, its records flow again


def place_of(live):
    three = cluster_of(live)
    return three, live.at(three)


@case()
def twelve_partitions_through_2_3_and_8_links(live):
    """On three leaders, a group for each: complete, each once, no partition waits too long."""
    three, live = place_of(live)
    topic = live.topic('fair', 12)
    leaders = live.admin.leaders(topic)
    check(all(list(leaders.values()).count(n) == 4 for n in (1, 2, 3)), f'leaders {leaders}')
    count = 12 * 700
    live.admin.produce(topic, count=count, size=1500)
    # Of three leaders one waits for two turns of a second, for one turn, or for none.
    bounds = {'worker_2_links': 2, 'worker_3_links': 1, 'worker': 0}
    workers = {}
    for which in bounds:
        group = live.group('fair')
        workers[which] = group, live.worker(which, group, [topic], f'count={count}',
                                            'idle_ms=30000')
    for which, turns in bounds.items():
        group, worker = workers[which]
        worker.succeed(60)
        ledger = Ledger([worker])
        ledger.check_exact(live, group, [topic])
        check(len(ledger.all()) == count, f'{which}: {len(ledger.all())} deliveries')
        wait = max(longest_waits(ledger).values())
        live.note(f'{which} {wait:.2f} s')
        check(wait < turns + 3, f'{which}: a partition has waited {wait:.1f} s')


@case()
def a_record_held_for_long_delays_other_leaders_by_its_lock(live):
    """One link, three leaders, a record of the first is forgotten: its lock is waited for."""
    three, live = place_of(live)
    topic = live.topic('held', 3)
    group = live.group('held', lock_ms=HELD_S * 1000)
    live.admin.produce(topic, count=300)
    worker = live.worker('worker_2_links', group, [topic], 'forget_at=5', 'count=301',
                         'idle_ms=30000').succeed(60)
    ledger = Ledger([worker])
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    ledger.check_deliveries()
    forgotten, = [place for place, deliveries in ledger.deliveries.items()
                  if ('forget', 'ok') in deliveries[0].said]
    waits = longest_waits(ledger)
    own = waits.pop(forgotten[:2])
    live.note(f'others {max(waits.values()):.2f} s, the record itself {own:.2f} s')
    check(max(waits.values()) < HELD_S + 2 + 1, f'partitions have waited {waits}')  # 2 turns
    check_settled(live, group, topic)


@case()
def leaders_move_while_records_flow(live):
    """One partition after the other, then all at once: nothing missing, no pause beyond 2 s."""
    three, live = place_of(live)
    topic = live.topic('moving', 6, configs=append_time())
    flow = Flow(live, [topic])
    moves = {p: [] for p in range(6)}
    for partition in (0, 3, 0):
        asked = now()
        target = live.admin.leaders(topic)[partition] % 3 + 1
        live.admin.move_leader(topic, partition, target)
        wait_until(lambda p=partition, t=target: live.admin.leaders(topic)[p] == t, 15,
                   'the leader moved')
        moves[partition].append((asked, now()))
        time.sleep(0.5)
    asked = now()
    three.lead_alone(topic, 2)
    for spans in moves.values():
        spans.append((asked, now()))
    time.sleep(0.5)
    flow.end()
    flow.check_lag(MOVE_S, 'longest wait', lambda _, partition: moves[partition])
    check_settled(live, flow.group, topic)


@case()
def a_broker_restarts_while_records_flow(live):
    """Stopped in order and started: its partitions go on with other leaders, or when it is back."""
    three, live = place_of(live)
    alone = live.topic('alone', 6, configs=append_time())
    copied = live.topic('copied', 6, replicas=3, configs=append_time())
    flow = Flow(live, [alone, copied])
    its = {(t, p) for t in (alone, copied) for p, n in live.admin.leaders(t).items() if n == 3}
    node = three.node(3)
    begun = now()
    node.stop()
    stopped = now()
    time.sleep(1)
    node.start()
    ready = now()
    led = three.wait_leaders(alone, lambda ids: -1 not in ids)
    time.sleep(1.5)
    flow.end()
    live.note(f'down {ready - stopped:.1f} s, led again {led - ready:+.2f} s')
    flow.check_lag(MOVE_S, 'partitions of others', lambda *_: [(begun, stopped)],
                   lambda *place: place not in its)
    flow.check_lag(MOVE_S, 'those that others lead now', lambda *_: [(begun, stopped)],
                   lambda *place: place in its and place[0] == copied)
    flow.check_lag(READY_S, 'those that were without a leader', lambda *_: [(begun, ready)],
                   lambda *place: place in its and place[0] == alone)
    check_settled(live, flow.group, alone)
    check_settled(live, flow.group, copied)


@case()
def the_coordinators_broker_is_killed_while_records_flow(live):
    """Complete; the group goes on with another coordinator, which gives it new partitions."""
    three, live = place_of(live)
    topic = live.topic('kept', 6, replicas=3, configs=append_time())
    group = live.group('kept', heartbeat_ms=1000, lock_ms=5000)
    while three.coordinator_of(group) == 1:  # the controller's node is to live
        group = live.group('kept', heartbeat_ms=1000, lock_ms=5000)
    three.lead_alone('__share_group_state', 1)  # leaders find moved share coordinators late
    flow = Flow(live, [topic], group=group)
    member, = wait_members(live, group, 1)
    victim = three.coordinator_of(group)
    dead = {p for p, n in live.admin.leaders(topic).items() if n == victim}
    three.node(victim).kill()
    killed = now()
    moved = 0
    for one in (topic, '__consumer_offsets', '__share_group_state'):
        moved = three.wait_leaders(one, lambda ids: not ids & {victim, -1})
    live.admin.add_partitions(topic, 8)
    added = now()
    live.admin.produce(topic, count=50, partition=6)
    live.admin.produce(topic, count=50, partition=7)

    def has_all():
        return [(m['id'], m['assignment'].get(topic)) for m in members_of(live, group)] == [
            (member['id'], list(range(8)))]
    wait_until(has_all, 20, f'all 8 partitions assigned to {member["id"]}')
    live.note(f'new partitions after {now() - added:.1f} s')
    three.node(victim).start()
    ready = now()
    time.sleep(2)
    flow.end()
    live.note(f'moved after {moved - killed:.1f} s, down {ready - killed:.1f} s')
    for what, some in (('partitions of others', lambda _, p: p < 6 and p not in dead),
                       ('those that it led', lambda _, p: p in dead)):
        flow.check_lag(MOVE_S, what, lambda *_: [(killed, moved)], some)
    check_settled(live, group, topic, 10)


@case()
def assignment_larger_than_the_tables(live):
    """24 partitions for 16 rows: told, and 16 are served; a second member takes a half of them."""
    three, live = place_of(live)
    topic = live.topic('large', 24)
    group = live.group('large', heartbeat_ms=1000)
    live.admin.produce(topic, count=24 * 20)
    tiny = live.worker('worker_tiny', group, [topic], 'idle_ms=90000')
    tiny.wait_lines(2 * 16 * 20)  # take, accept
    time.sleep(1)
    events = [line for line in tiny.err().splitlines() if line.startswith('# ')]
    told = [line for line in events if ' 8 ' in line and 'assign' in line]
    check(len(told) == 1, f'told {len(told)} times: {events}')
    served = {line.split()[2] for line in tiny.lines()}
    check(len(served) == 16, f'{len(served)} partitions served')
    second = live.worker('worker', group, [topic], 'idle_ms=90000')
    total = 24 * 20
    wait_until(lambda: Ledger([tiny, second]).says('accept') >= total, 30, f'{total} accepted')
    live.admin.produce(topic, count=total, first=total)
    wait_until(lambda: Ledger([tiny, second]).says('accept') >= 2 * total, 30,
               f'{2 * total} accepted')
    tiny.stop()
    second.stop()
    Ledger([tiny, second]).check_exact(live, group, [topic])


@case()
def unsubscribed_for_a_while(live):
    """In mid-flow: sessions with three leaders end and begin again, each record accepted once."""
    three, live = place_of(live)
    topic, group = live.topic('pause', 6), live.group('pause', heartbeat_ms=1000)
    flow = Flow(live, [topic], 'hold=30', 'pause=500', 'pause_ms=2000', group=group)
    wait_until(lambda: not members_of(live, group), 10, 'the member gone')
    wait_members(live, group, 1)
    time.sleep(1)
    flow.end()
    ledger, report = flow.ledger, flow.worker.report()
    check(ledger.unsubscribed == ['ok', 'ok'], f'{ledger.unsubscribed}')
    ledger.check_said()
    again = {d.count for d in ledger.all()} - {1}
    live.note(f'{report["released"]} given back, {report["redelivered"]} came again')
    check(again <= {2}, f'delivery counts {again}')  # of those that nobody had seen
    check(report['acks_failed'] == report['acks_unknown'] == 0, 'acknowledgements got lost')
    check_settled(live, group, topic)


@case()
def all_brokers_come_back_at_other_ports(live):
    """The bootstrap list names the new ones too: everything flows within 5 s of the last."""
    three, live = place_of(live)
    topic = live.topic('ports', 6, configs=append_time())
    group = live.group('ports', heartbeat_ms=1000)
    ports = [kafka.free_port() for _ in three.cluster.nodes]
    servers = ','.join([three.bootstrap, *(f'127.0.0.1:{port}' for port in ports)])
    worker = live.program('worker', servers, group, topic, 'idle_ms=90000')
    live.admin.produce(topic, count=600)
    worker.wait_lines(1200)
    check_settled(live, group, topic)
    for node in three.cluster.nodes:
        node.kill()
    three.admin.close()
    time.sleep(1)
    for node, port in zip(three.cluster.nodes, ports):
        node.move(port)
    three.admin = live.admin = kafka.Admin(three.bootstrap)
    three.cluster.start()
    ready = now()
    for one in (topic, '__consumer_offsets', '__share_group_state'):
        led = three.wait_leaders(one, lambda ids: -1 not in ids)
    live.admin.produce(topic, count=600, first=600)
    wait_until(lambda: len(taken(worker)) == 1200, 30, f'all (have {len(taken(worker))})')
    worker.stop()
    ledger = Ledger([worker])
    last = max(deliveries[0].at for deliveries in ledger.deliveries.values())
    live.note(f'led {led - ready:.1f} s after the last was ready, all {last - ready:.1f} s')
    check(last - ready < READY_S, f'{last - ready:.1f} s after the last was ready')
    ledger.check_every_record(live, [topic])
    check_settled(live, group, topic)
