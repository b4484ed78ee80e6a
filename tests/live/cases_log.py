# SPDX-License-Identifier: Apache-2.0
"""Logs with holes, and with a start that moves: compaction, delete-records, retention."""
import select
import time

from checks import check_settled, read_all, read_rest, rows_of
from client import check, wait_until
from registry import case

PLACE = '%p %o\\n'


def compacted(live, **how):
    """A topic that the log cleaner is done with, and the offsets that are left."""
    topic = live.topic('compacted', configs={
        'cleanup.policy': 'compact', 'segment.ms': '200', 'min.cleanable.dirty.ratio': '0.01',
        'min.compaction.lag.ms': '0', 'delete.retention.ms': '0'})
    total = 0
    for _ in range(6):
        live.admin.produce(topic, count=500, first=total, keys=200, batch_size=2000, **how)
        total += 500
        time.sleep(0.3)  # the next one begins a new segment
    seen = []

    def settled():
        time.sleep(1.2)
        seen.append(live.admin.read(topic))
        return len(seen) > 1 and seen[-1] == seen[-2] and len(seen[-1]) < total / 3
    wait_until(settled, 25, f'the log cleaned (of {total} records are left {len(seen[-1:])})')
    empty = [base for base, count, *_ in live.broker.batches(topic) if count == 0]
    live.note(f'{len(seen[-1])} of {total} records left, {len(empty)} batches with none')
    return topic, seen[-1]


@case(everywhere=True)
def compaction_holes_stall_nothing(live):
    """Offsets that the log cleaner took away are acknowledged as gaps, in any kind of batch."""
    topic, left = compacted(live)
    for which in 'cat', 'tiny':
        report = read_all(live, topic, left, which)
        live.note(f'{which}: {report["gaps"]} gaps')
        check(report['gaps'] > 0, f'{which} has met no gap')


@case(everywhere=True)
def compacted_transactions_stall_nothing(live):
    """The same with transactions: markers and batches without any record among the holes."""
    topic, left = compacted(live, transaction='commit')
    for isolation in 'read_committed', 'read_uncommitted':
        read_all(live, topic, left, isolation=isolation)
    read_all(live, topic, left, 'tiny')


@case(everywhere=True)
def deleted_records_stall_nothing(live):
    """delete-records moves the start beyond what a member has locked."""
    topic = live.topic('trimmed')
    group = live.group('trimmed')
    live.admin.produce(topic, count=1000)
    cat = live.cat('cat', group, topic, '-c', '10', '-f', PLACE).succeed()
    live.admin.delete_records(topic, before=500)
    rest = live.cat('cat', group, topic, '-e', '-i', '3000', '-f', PLACE, '-J').succeed()
    offsets = sorted(o for _, o in rest.pairs())
    # The broker goes on with whole batches: the one that spans the new start comes in full.
    begin = max(base for base, *_ in live.broker.batches(topic) if base <= 500)
    check(offsets[-500:] == list(range(500, 1000)), f'{len(offsets)} offsets, from {offsets[:1]}')
    check(offsets[0] >= begin, f'offset {offsets[0]} is of a batch that was deleted')
    check(len(set(offsets)) == len(offsets), 'some came twice')
    check(len(cat.pairs()) == 10, f'{len(cat.pairs())} records before')


def start_moves_while_held(live, which, topic, move):
    """A member that is held up by its output goes on behind the new start."""
    group = live.group('held')
    cat = live.cat(which, group, topic, '-e', '-i', '3000', '-f', '%p %o %s\\n', '-J', pipe=True)
    ready, _, _ = select.select([cat.pipe], [], [], 20)
    check(ready, 'nothing printed within 20 s')
    time.sleep(0.5)
    start = move()
    end = live.admin.end_offsets(topic)[0]
    live.admin.produce(topic, count=100, first=end)
    offsets = [o for _, o in rows_of(read_rest(cat))]
    report = cat.succeed(30).report()
    live.note(f'{len(offsets)} of {end + 100}, {report["gaps"]} gaps, '
              f'{report["acks_failed"]} acks failed')
    check(len(set(offsets)) == len(offsets), f'{len(offsets) - len(set(offsets))} came twice')
    missing = set(range(start, end + 100)) - set(offsets)
    check(not missing, f'{len(missing)} records behind the new start {start} are missing, '
          f'the first {sorted(missing)[:3]}')
    check(report['acks_failed'] == 0 and report['acks_unknown'] == 0,
          f'late acknowledgements: {report["acks_failed"]} failed, '
          f'{report["acks_unknown"]} unknown')
    check_settled(live, group, topic)


def delete_while_held(live, which):
    """Not on 4.1.1: it may leave the ShareFetch behind it without an answer, for 30 s and more."""
    topic = live.topic('held')
    live.admin.produce(topic, count=5000, size=200, batch_size=200_000, linger_ms=1000)
    start_moves_while_held(live, which, topic,
                           lambda: live.admin.delete_records(topic, before=4000))


@case(since=(4, 2), everywhere=True)
def records_deleted_while_held_stall_nothing(live):
    """delete-records in the middle of the batches that are locked; the bytes are here already."""
    delete_while_held(live, 'cat')


@case(since=(4, 2), everywhere=True)
def records_deleted_before_they_are_read_again_stall_nothing(live):
    """The same with Tiny, which has locked more than it has bytes of.

    A plain fetch below the log start is answered with OFFSET_OUT_OF_RANGE and -1 for the log start
    (4.1.1 to 4.4.0).
    """
    delete_while_held(live, 'tiny')


@case(everywhere=True)
def retention_while_held_stalls_nothing(live):
    """The segments that are locked are too old and go; so do late acknowledgements."""
    topic = live.topic('expiring', configs={'retention.ms': '4000'})

    def gone():
        end = live.admin.end_offsets(topic)[0]
        wait_until(lambda: not live.admin.read(topic), 20, 'the records expired')
        live.admin.call('topic_config', topic=topic, configs={'retention.ms': '3600000'})
        return end
    live.admin.produce(topic, count=2000, size=200)
    start_moves_while_held(live, 'cat', topic, gone)
