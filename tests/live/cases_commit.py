# SPDX-License-Identifier: Apache-2.0
"""Commits, acknowledgements that come late, and those made after a change of hands."""
import concurrent.futures

import kafka
from checks import check_settled, members_of, wait_members
from client import check, wait_until
from ledger import Ledger
from registry import case

PLACE = '%p %o %d\\n'
AT_ONCE_MS = 200  # without a round trip; a machine may be busy


def filled(live, base, partitions, count):
    topic = live.topic(base, partitions)
    live.admin.produce(topic, count=count)
    return topic


def rest_of(live, group, topic, idle_ms=2500):
    """What another member gets until no more comes: {(topic, partition, offset): count}."""
    cat = live.cat('cat', group, topic, '-e', '-i', str(idle_ms), '-f', PLACE).succeed()
    rest = {(topic, p, o): d for p, o, d in cat.pairs()}
    check(len(rest) == len(cat.pairs()), 'a record came twice to the member that gets the rest')
    return rest


def check_handed_over(live, topic, ledger, rest):
    """Between them they have everything; what was taken and not accepted came again."""
    total = sum(live.admin.end_offsets(topic).values())
    have = set(ledger.deliveries) | set(rest)
    check(len(have) == total, f'{len(have)} of {total} records')
    unsettled = set(ledger.deliveries) - ledger.accepted()
    check(unsettled <= set(rest), f'never came again: {sorted(unsettled - set(rest))[:5]}')


def commit_after_every(live, every):
    topic = filled(live, 'commit', 2, 700)
    group = live.group('commit')
    worker = live.worker('worker', group, [topic], 'release=10', f'commit={every}').succeed()
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    said = ledger.says('accept') + ledger.says('release')
    results = [commit.name for commit in ledger.commits[1:]]
    check(results == ['ok'] * (said // every), f'every {every}: {len(results)} commits of {said}, '
          f'{len(results) - results.count("ok")} failed')
    live.note(f'every {every}: the longest {max(commit.ms for commit in ledger.commits)} ms')


@case(everywhere=True)
def commits_after_every_n_acknowledgements(live):
    """1, 7 and 100: each commit is ok, and the accounts are exact."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(commit_after_every, live, every) for every in (1, 7, 100)]:
            done.result()


@case(everywhere=True)
def results_of_commits_are_what_was_acknowledged(live):
    """By partition, since the commit before; before any acknowledgement: nothing, and at once."""
    topic = filled(live, 'results', 3, 700)
    group = live.group('results')
    # All are in hand before the first is settled, so that none is sent before its commit.
    worker = live.worker('worker', group, [topic], 'hold=700', 'count=700', 'reject=20',
                         'commit=20', 'idle_ms=30000').succeed()
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    first, *others = ledger.commits
    live.note(f'the first after {first.ms} ms, the others {max(c.ms for c in others)} at most')
    check(first.name == 'ok' and not first.rows, f'nothing to commit: {first.name}, {first.rows}')
    check(first.ms < AT_ONCE_MS, f'nothing to commit: {first.ms} ms')
    check(len(others) == 700 // 20, f'{len(others)} commits')
    for i, commit in enumerate(others):
        wanted = {place: (count, 'ok') for place, count in commit.acked.items()}
        check(commit.name == 'ok' and commit.rows == wanted,
              f'commit {i}: {commit.name}, {commit.rows}, not {wanted}')


@case()
def commit_with_a_dead_broker_ends_at_its_deadline(live):
    """The broker freezes: timed_out after 1.5 s; what was not committed comes to the next."""
    broker = live.opened(kafka.Broker(live.version, name='own broker'))
    broker.start()
    broker.admin = live.opened(kafka.Admin(broker.bootstrap))
    here = live.at(broker)
    here.warm()
    topic = filled(here, 'dead', 1, 500)
    group = here.group('dead', lock_ms=2000, session_ms=5000, heartbeat_ms=1000)
    worker = here.worker('worker', group, [topic], 'commit=10', 'commit_ms=1500', 'work_ms=5')
    wait_until(lambda: len(Ledger([worker]).commits) > 3, 20, 'three commits')
    broker.pause()
    try:
        wait_until(lambda: Ledger([worker]).commits[-1].name != 'ok', 10, 'a commit that failed')
        worker.kill()
    finally:
        broker.resume()
    ledger = Ledger([worker])
    name, ms = ledger.commits[-1].name, ledger.commits[-1].ms
    live.note(f'{len(ledger.commits)} commits, the last {name} after {ms} ms')
    check(name == 'timed_out', f'the last commit ended with {name}')
    check(1500 <= ms < 2500, f'it ended after {ms} ms')
    rest = rest_of(here, group, topic, 7000)
    check_handed_over(here, topic, ledger, rest)
    committed = accepted_before_the_last_commit(worker)
    check(len(committed) >= 30, f'only {len(committed)} committed')
    check(not committed & set(rest), f'committed, but came again: {sorted(committed & set(rest))}')
    check_settled(here, group, topic)


def accepted_before_the_last_commit(worker):
    """The places accepted before the last commit that was ok."""
    lines = worker.lines()
    last = max(i for i, line in enumerate(lines) if line.startswith('commit 0 '))
    words = [line.split() for line in lines[:last]]
    return {(w[1], int(w[2]), int(w[3])) for w in words if w[0] == 'accept'}


@case(everywhere=True)
def late_acknowledgements_are_refused_alone(live):
    """Some are accepted after their lock: lock_lost, they come again, and the rest is exact."""
    topic = filled(live, 'late', 2, 500)
    group = live.group('late', lock_ms=2000)
    worker = live.worker('worker', group, [topic], 'seed=8', 'late=5', 'late_ms=3500', 'release=5',
                         'hold=10').succeed()
    ledger = Ledger([worker])
    late, lost = ledger.says('late'), ledger.says('accept', 'lock_lost')
    live.note(f'{late} late')
    check(late > 10, f'only {late} late')
    check(lost == late, f'{late} late, but {lost} with lock_lost')
    ledger.check_said('lock_lost')
    ledger.check_every_record(live, [topic])
    ledger.check_deliveries()
    ledger.check_counters(acks_failed=lost, expired=lost)
    check_settled(live, group, topic)


@case()
def work_that_blocks_beyond_the_lock(live):
    """The acknowledgements that it holds up come too late: told, and only these records again."""
    topic = filled(live, 'blocks', 1, 60)
    group = live.group('blocks', lock_ms=1000)
    worker = live.worker('worker', group, [topic], 'work_ms=1500', 'work_at=20').succeed()
    ledger = Ledger([worker])
    report = worker.report()
    live.note(', '.join(f'{report[k]} {k}' for k in ('redelivered', 'acks_ok', 'acks_failed')))
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    # The consumer took these acknowledgements; they were too late when it could send them.
    again = ledger.says('accept') - 60
    check(again > 0, 'none was accepted twice')
    ledger.check_counters(acks_ok=60, acks_failed=again, renewed=None)
    check_settled(live, group, topic)


@case(everywhere=True)
def acknowledgements_after_unsubscribe(live):
    """40 in hand are accepted after it: all of them count; another member gets the rest."""
    topic = filled(live, 'leave', 2, 500)
    group = live.group('leave')
    worker = live.worker('worker', group, [topic], 'hold=40', 'leave=100').succeed()
    ledger = Ledger([worker])
    check(ledger.unsubscribed == ['ok'], f'unsubscribe: {ledger.unsubscribed}')
    lines = [line.split()[0] for line in worker.lines()]
    after = lines[lines.index('unsubscribe'):].count('accept')
    check(after >= 40, f'only {after} accepted after it')
    ledger.check_said()
    check(len(ledger.accepted()) == 100, f'{len(ledger.accepted())} accepted')
    report = worker.report()
    check(report['acks_failed'] == 0, f'{report["acks_failed"]} acks failed')
    rest = rest_of(live, group, topic)
    check(len(rest) == 400 and not set(rest) & ledger.accepted(),
          f'the other got {len(rest)}, {len(set(rest) & ledger.accepted())} of them accepted')
    check_settled(live, group, topic)


def parts_of(live, group):
    """How many partitions each member has, by client id."""
    return {m['client_id']: len(m['assignment']) for m in members_of(live, group)}


@case(everywhere=True)
def acknowledgements_after_the_partition_moved(live):
    """100 in hand while one of two partitions goes to a second member: all of them count."""
    topic = filled(live, 'moved', 2, 100)
    group = live.group('moved', heartbeat_ms=500)
    worker = live.worker('worker', group, [topic], 'client.id=first', 'hold=100', 'late=100',
                         'accept=0', 'late_ms=6000', 'idle_ms=1000')
    worker.wait_lines(100)
    second = live.cat('cat', group, topic, '-f', PLACE, '-X', 'client.id=second')
    wait_members(live, group, 2)
    wait_until(lambda: parts_of(live, group) == {'first': 1, 'second': 1}, 5, 'one for each')
    check(' accept' not in worker.out().decode(), 'accepted too early')
    worker.succeed(20)
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    second.stop()
    check(not second.pairs(), f'the second member got {second.pairs()[:5]}')


@case()
def a_killed_worker_loses_nothing(live):
    """SIGKILL with 30 records in hand: another member gets them, and what was never taken."""
    topic = filled(live, 'killed', 2, 1000)
    group = live.group('killed', lock_ms=2000, session_ms=5000, heartbeat_ms=1000)
    worker = live.worker('worker', group, [topic], 'hold=30', 'work_ms=2', 'commit=50')
    wait_until(lambda: len(Ledger([worker]).commits) > 4, 20, 'four commits')
    worker.kill()
    ledger = Ledger([worker])
    held = {place for place, deliveries in ledger.deliveries.items() if not deliveries[-1].said}
    check(len(held) >= 29, f'only {len(held)} were in hand')
    rest = rest_of(live, group, topic, 7000)
    check_handed_over(live, topic, ledger, rest)
    counts = {rest[place] for place in held}
    check(counts == {2}, f'those in hand came again with the counts {sorted(counts)}')
    again = len(set(rest) & ledger.accepted())
    live.note(f'{len(ledger.accepted())} accepted, {len(held)} in hand, {again} accepted again')
    check(again < 100, f'{again} came again after they had been accepted')
    committed = accepted_before_the_last_commit(worker)
    check(not committed & set(rest), f'committed, but came again: {sorted(committed & set(rest))}')
    check_settled(live, group, topic)
