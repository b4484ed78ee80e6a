# SPDX-License-Identifier: Apache-2.0
"""Locks that are renewed, by the application or by kshare, and brokers that do not renew."""
import os
import re
import time

from checks import check_complete, check_settled, read_rest, rows_of
from client import check
from ledger import Ledger
from registry import case

PLACE = '%p %o %d\\n'
STOPS_LOCK_MS = 6000
# All of a producer's records in one batch.
IN_ONE_BATCH = {'batch_size': 1_000_000, 'linger_ms': 60_000}


def accept_after_renew(live, count, **configs):
    """kshare_cat -A renew reads so many records, each once with count 1; itself."""
    topic = live.topic('renew', 2)
    group = live.group('renew', **configs)
    live.admin.produce(topic, count=count)
    cat = live.cat('cat', group, topic, '-A', 'renew', '-c', str(count), '-f', PLACE, '-J')
    cat.succeed()
    check_complete(live, topic, [(p, o) for p, o, _ in cat.pairs()])
    counts = {d for _, _, d in cat.pairs()}
    check(counts == {1}, f'delivery counts {sorted(counts)}')
    report = cat.report()
    check(report['acks_failed'] == 0, f'-J says acks_failed={report["acks_failed"]}')
    check(report['acks_ok'] == count, f'-J says acks_ok={report["acks_ok"]}')
    again = live.cat('cat', group, topic, '-e', '-i', '2500', '-f', PLACE).succeed()
    check(not again.pairs(), f'came back: {again.pairs()[:5]}')
    check_settled(live, group, topic)
    return cat


@case(since=(4, 2), everywhere=True)
def renew_keeps_a_record_and_accept_follows(live):
    """-A renew renews once, then accepts: every record once, count 1."""
    report = accept_after_renew(live, 200, lock_ms=2000).report()
    check(report['renewed'] == 200, f'-J says renewed={report["renewed"]}')
    check(report['renew_failed'] == 0, f'-J says renew_failed={report["renew_failed"]}')


@case(before=(4, 2), everywhere=True)
def renew_is_not_possible_before_kafka_4_2(live):
    """-A renew says so, once, and accepts all the same."""
    cat = accept_after_renew(live, 200)
    told = cat.err().count('cannot be renewed here')
    check(told == 1, f'told {told} times')
    check(cat.report()['renewed'] == 0, f'-J says renewed={cat.report()["renewed"]}')


@case(since=(4, 3), everywhere=True)
def renew_switched_off_by_the_group(live):
    """Counter and event renew_failed; there is still time to accept the records."""
    cat = accept_after_renew(live, 200, renewals='false')
    report = cat.report()
    check(report['renewed'] == 0, f'-J says renewed={report["renewed"]}')
    check(report['renew_failed'] == 200, f'-J says renew_failed={report["renew_failed"]}')
    told = re.findall(r'.*not renewed: .*', cat.err())
    live.note(f'{len(told)} events, the first {told[:1]}')
    check(told, 'nobody was told')


def work_slowly(live, count, *arguments, **configs):
    """20 ms for each record of one batch whose lock is 2 s: the worker's ledger."""
    topic = live.topic('slow-work')
    group = live.group('slow-work', lock_ms=2000, **configs)
    live.admin.produce(topic, count=count, **IN_ONE_BATCH)
    batches = live.broker.batches(topic)
    check(len(batches) == 1 and batches[0][1] == count, f'not one batch: {batches}')
    worker = live.worker('worker', group, [topic], 'work_ms=20', *arguments).succeed(90)
    ledger = Ledger([worker])
    report = worker.report()
    live.note(', '.join(f'{report[k]} {k}' for k in ('renewed', 'redelivered', 'released')))
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    check_settled(live, group, topic)
    return ledger, report


@case(since=(4, 2))
def slow_work_on_one_batch_is_renewed(live):
    """1,000 records of 20 ms, lock 2 s: every record once, count 1."""
    ledger, report = work_slowly(live, 1000)
    ledger.check_deliveries()
    ledger.check_counters(renewed=None)
    check(report['redelivered'] == 0, f'{report["redelivered"]} came again')
    check(report['renewed'] > 0, 'nothing was renewed')


@case(since=(4, 3))
def slow_work_without_renewals_comes_again(live):
    """auto.renew=false: what the worker does not reach in time is delivered again."""
    ledger, report = work_slowly(live, 400, 'auto.renew=false', attempts=10)
    check(report['renewed'] == 0, f'{report["renewed"]} renewed')
    check(report['redelivered'] > 0, 'nothing came again')
    accepts = ledger.says('accept')
    check(len(ledger.accepted()) == accepts == 400, f'{accepts} accepted')


@case(everywhere=True)
def an_application_that_stops_taking_gives_the_rest_back(live):
    """20 of a batch of 200, then no more but poll(): others have the rest before the lock ends."""
    topic = live.topic('stops')
    group = live.group('stops', lock_ms=STOPS_LOCK_MS)
    live.admin.produce(topic, count=200, size=30, **IN_ONE_BATCH)
    first = live.worker('worker', group, [topic], 'stop_at=20', 'idle_ms=90000')
    first.wait_lines(40)  # take, accept
    second = live.worker('worker', group, [topic], 'idle_ms=90000')
    second.wait_lines(360)
    for worker in first, second:
        worker.stop()
    ledger = Ledger([first, second])
    ledger.check_said()
    ledger.check_every_record(live, [topic])
    its = [d for d in ledger.all() if d.order[0] == 0]
    rest = [d for d in ledger.all() if d.order[0] == 1]
    check((len(its), len(rest)) == (20, 180), f'{len(its)} and {len(rest)}')
    waited = max(d.at for d in rest) - max(d.at for d in its)
    live.note(f'all the rest after {waited:.1f} s')
    check(waited < STOPS_LOCK_MS * 0.75 / 1000, f'the rest only after {waited:.1f} s')
    told = re.findall(r'.*nobody took them.*', first.err())
    check(len(told) == 1, f'told {told}')
    counts = {d.count for d in its}, {d.count for d in rest}
    check(counts == ({1}, {2}), f'delivery counts {counts}')
    ledger.check_counters(released=180, expired=180, renewed=None)
    check_settled(live, group, topic)


def read_slowly(live, pause_at=None, pause_s=0):
    """kshare_cat prints 400 records of one batch, lock 1 s, four of them each 40 ms; its rows."""
    topic = live.topic('slow')
    group = live.group('slow', lock_ms=1000)
    live.admin.produce(topic, count=400, size=1000, **IN_ONE_BATCH)
    cat = live.cat('cat', group, topic, '-e', '-i', '2500', '-f', '%p %o %d %s\\n', '-J', pipe=True)
    data = b''
    while chunk := os.read(cat.pipe.fileno(), 4096):
        data += chunk
        if pause_at and len(data) > pause_at:
            time.sleep(pause_s)
            pause_at = None
            data += read_rest(cat)
            break
        time.sleep(0.04)
    cat.succeed()
    rows = rows_of(data)
    report = cat.report()
    live.note(', '.join(f'{report[k]} {k}' for k in ('renewed', 'redelivered', 'released',
                                                     'expired', 'acks_failed')))
    check_complete(live, topic, sorted(set(rows)))
    check_settled(live, group, topic)
    return rows, report


@case(since=(4, 2), everywhere=True)
def slow_output_is_renewed(live):
    """4 s of output that is read slowly, lock 1 s: each record once, with count 1."""
    rows, report = read_slowly(live)
    check(len(rows) == 400, f'{len(rows)} lines')
    check(report['redelivered'] == 0, f'{report["redelivered"]} came again')
    check(report['renewed'] > 0, 'nothing was renewed')


@case(since=(4, 2))
def output_that_stops_beyond_the_lock(live):
    """Nobody reads for 2.5 locks: what had waited comes again, and all is printed."""
    rows, report = read_slowly(live, pause_at=50_000, pause_s=2.5)
    check(len(rows) == report['records'], f'{len(rows)} lines of {report["records"]}')
    check(report['redelivered'] > 0, 'nothing came again')
    again = len(rows) - len(set(rows))
    check(again <= report['acks_failed'], f'{again} printed twice, {report["acks_failed"]} told')


@case(since=(4, 2))
def a_record_renewed_for_two_and_a_half_locks(live):
    """examples/explicit_ack with a "slow" record: renewed again and again, accepted once."""
    topic = live.topic('explicit')
    group = live.group('explicit', lock_ms=2000)
    live.admin.produce(topic, records=[{'value': v} for v in ('slow', 'quick', 'bad', 'busy')])
    example = live.program('explicit_ack', live.broker.bootstrap, group, topic)
    example.wait_lines(1)
    check_settled(live, group, topic, 10)
    example.stop()
    lines = [line for line in example.lines() if not line.startswith('# ')]
    live.note(' | '.join(lines))
    renewals = lines.count('0 renew')
    check(renewals >= 3, f'renewed {renewals} times')
    wanted = ['0 accept after slow work', *['0 renew'] * renewals, '1 try 1 accept quick',
              '2 try 1 reject bad', '3 try 1 release busy', '3 try 2 release busy',
              '3 try 3 accept busy']
    check(sorted(lines) == wanted, f'it said {lines}')
