# SPDX-License-Identifier: Apache-2.0
"""Accept, release, reject, locks and the delivery limit, as the broker sees them."""
import collections
import os
import select
import time

from checks import check_complete, check_settled, read_rest, rows_of
from client import Failure, check, wait_until
from ledger import Ledger
from registry import case

PLACE = '%p %o %d\\n'
IDLE_CLOSE_MS = 700  # a poll takes 500


def counts_by_offset(pairs):
    counts = collections.defaultdict(list)
    for partition, offset, count in pairs:
        counts[partition, offset].append(count)
    return counts


@case(everywhere=True)
def released_records_come_back_with_count_2(live):
    """-A release gives them to the next member; one higher each time."""
    topic = live.topic('release')
    group = live.group('release', lock_ms=1000)
    live.admin.produce(topic, count=10)
    first = live.cat('cat', group, topic, '-A', 'release', '-c', '10', '-f', PLACE, '-J').succeed()
    check(first.report()['released'] >= 10, f'-J says released={first.report()["released"]}')
    check([c[2] for c in first.pairs()] == [1] * 10, f'first time: {first.pairs()}')
    second = live.cat('cat', group, topic, '-c', '10', '-f', PLACE).succeed()
    check_complete(live, topic, [(p, o) for p, o, _ in second.pairs()])
    check({c for _, _, c in second.pairs()} == {2}, f'second time: {second.pairs()}')
    check_settled(live, group, topic)


@case(everywhere=True)
def rejected_records_never_come_back(live):
    """-A reject archives them."""
    topic = live.topic('reject')
    group = live.group('reject', lock_ms=1000)
    live.admin.produce(topic, count=10)
    first = live.cat('cat', group, topic, '-A', 'reject', '-c', '10', '-f', PLACE, '-J').succeed()
    check(first.report()['rejected'] == 10, f'-J says rejected={first.report()["rejected"]}')
    again = live.cat('cat', group, topic, '-e', '-i', '2500', '-f', PLACE).succeed()
    check(not again.pairs(), f'came back: {again.pairs()}')
    check_settled(live, group, topic)


@case()
def a_change_of_mind_counts_until_it_is_sent(live):
    """The last word wins; after that it is refused, as are another type and another place.

    20 records are accepted first; in the end 10 are rejected, 5 released and 5 accepted.
    """
    topic = live.topic('mind')
    group = live.group('mind')
    live.admin.produce(topic, count=500)
    worker = live.worker('worker', group, [topic], 'mind=25').succeed()
    ledger = Ledger([worker])
    ledger.check_said('already_acknowledged', 'unknown_record', 'wrong_mode')
    ledger.check_every_record(live, [topic])
    ledger.check_deliveries()
    ledger.check_counters(records=505, acks_ok=505, released=5, rejected=10)
    ends = {word: [d for d in ledger.all() if d.word() == word] for word in ('release', 'reject')}
    check([len(some) for some in ends.values()] == [5, 10], f'in the end: {ends}')
    counts = {name: ledger.says('release', name) + ledger.says('accept', name)
              for name in ('already_acknowledged', 'unknown_record')}
    counts['ok'] = ledger.says('release')
    live.note(f'another word for 20 records: {counts}')
    check(counts['ok'] == counts['unknown_record'] == 20, f'not all of them: {counts}')
    check(counts['already_acknowledged'] > 0, f'none while it travelled: {counts}')
    for word, name in ('invalid', 'wrong_mode'), ('elsewhere', 'unknown_record'):
        check(ledger.says(word, name) == 20, f'{word}: {ledger.says(word, name)} of 20 {name}')
    check_settled(live, group, topic)


@case(everywhere=True)
def delivery_limit_ends_a_record(live):
    """Released five times and then gone."""
    topic = live.topic('limit')
    group = live.group('limit', lock_ms=1000)
    live.admin.produce(topic, count=10)
    cat = live.cat('cat', group, topic, '-A', 'release', '-e', '-i', '3000', '-f', PLACE).succeed()
    for place, counts in sorted(counts_by_offset(cat.pairs()).items()):
        check(counts == [1, 2, 3, 4, 5], f'{place} was delivered with the counts {counts}')
    check_complete(live, topic, list(counts_by_offset(cat.pairs())))
    check_settled(live, group, topic)


@case(everywhere=True)
def unacked_records_come_back_after_the_lock(live):
    """A member that no longer moves (nobody reads its output) loses what it holds after 1 s."""
    topic = live.topic('lock')
    group = live.group('lock', lock_ms=1000)
    live.admin.produce(topic, count=500, size=1000)
    stuck = live.cat('cat', group, topic, '-f', '%p %o %s\\n', pipe=True)
    ready, _, _ = select.select([stuck.pipe], [], [], 20)
    check(ready, 'nothing printed within 20 s')
    time.sleep(0.5)
    start = time.monotonic()
    second = live.cat('cat', group, topic, '-e', '-i', '3000', '-f', PLACE)
    wait_until(lambda: second.out_size() > 0, 10, 'records for the second member')
    live.note(f'after {time.monotonic() - start:.1f} s')
    second.succeed()
    check(stuck.running(), 'the first member ended')
    stuck.kill()
    first = set(rows_of(read_rest(stuck)))
    others = {(p, o) for p, o, _ in second.pairs()}
    check_complete(live, topic, list(first | others))
    check(any(c >= 2 for _, _, c in second.pairs()), 'nothing came a second time')
    check_settled(live, group, topic)


@case('hundred-thousand', everywhere=True)
def sigkill_loses_nothing(live):
    """A second member gets all that the first had not both printed and accepted."""
    topic = live.shared_topic('hundred-thousand')
    # The dead member keeps its half of the partitions until its session times out.
    group = live.group('kill', lock_ms=2000, session_ms=5000, heartbeat_ms=1000)
    victim = live.cat('cat', group, topic, '-f', '%p %o\\n', pipe=True)
    data = b''
    while data.count(b'\n') < 30_000:
        chunk = os.read(victim.pipe.fileno(), 1 << 14)
        check(chunk, 'the first member ended by itself')
        data += chunk
    victim.kill()
    first = rows_of(data + read_rest(victim))
    second = live.cat('cat', group, topic, '-e', '-i', '7000', '-f', '%p %o\\n').succeed()
    others = second.pairs()
    check(len(first) == len(set(first)), 'the first member printed a record twice')
    check(len(others) == len(set(others)), 'the second member printed a record twice')
    check_complete(live, topic, list(set(first) | set(others)))
    twice = set(first) & set(others)
    live.note(f'{len(first)} lines before the kill, {len(twice)} of them again')
    late = set(first[-4096:])
    check(twice <= late, f'{len(twice - late)} records came again long after they were printed')
    check_settled(live, group, topic)


def close_when_idle(live):
    """[(name, ms)] of the two times that a worker closes which has been given all there is."""
    topic = live.topic('idle', 2)
    group = live.group('idle')
    live.admin.produce(topic, count=10)
    worker = live.worker('worker', group, [topic], 'idle_ms=90000', 'close=2')
    worker.wait_lines(20)  # take, accept
    check_settled(live, group, topic)
    worker.stop()
    ledger = Ledger([worker])
    ledger.check_exact(live, group, [topic])
    members = live.admin.describe_group(group)['members']
    check(members == [], f'still in the group after its end: {members}')
    return ledger.closed


@case(everywhere=True)
def an_idle_member_closes_at_once(live):
    """It waits for the answer to its poll at most; a second close is harmless."""
    for _ in range(3):  # for once a busy machine will let it
        first, second = close_when_idle(live)
        live.note(f'{first[1]} ms')
        check(first[0] == 'ok', f'closed: {first}')
        check(second == ('ok', 0), f'closed again: {second}')
        if first[1] < IDLE_CLOSE_MS:
            return
    raise Failure(f'closed after {first[1]} ms')


@case(everywhere=True)
def close_releases_what_was_not_asked_for(live):
    """-c 10 of 1,000: the others are there for the next member at once, and the group is empty."""
    topic = live.topic('close')
    group = live.group('close')
    live.admin.produce(topic, count=1000)
    first = live.cat('cat', group, topic, '-c', '10', '-f', '%p %o\\n').succeed()
    members = live.admin.describe_group(group)['members']
    check(members == [], f'still in the group after its end: {members}')
    second = live.cat('cat', group, topic, '-c', '990', '-f', '%p %o\\n', '-J').succeed()
    check_complete(live, topic, first.pairs() + second.pairs())
    ms = second.report()['first_record_ms']
    live.note(f'next member: first record after {ms} ms')
    check(ms < 1500, f'first record of the next member after {ms} ms')
    check_settled(live, group, topic)
