# SPDX-License-Identifier: Apache-2.0
"""One batch of 5,000 records, far larger than any slot: nothing is archived unseen."""
import concurrent.futures
import select
import time

import kafka
from checks import check_complete, check_settled, read_rest, rows_of, wait_members
from client import check, wait_until
from registry import ONE_BATCH, case

PLACE = '%p %o %d\\n'


class TwoAttempts:
    """A broker that delivers a record twice at the most; before 4.3 no group can ask for that."""

    def __init__(self, live):
        self.broker = kafka.Broker(live.version, {'group.share.delivery.count.limit': 2},
                                   name='broker of two attempts')
        self.broker.start()
        self.bootstrap = self.broker.bootstrap
        self.batches = self.broker.batches
        self.admin = kafka.Admin(self.bootstrap)
        live.at(self).warm()
        self.topic = live.at(self).topic('one-batch')
        self.admin.produce(self.topic, **ONE_BATCH)

    def close(self):
        self.admin.close()
        self.broker.close()


def place_of(live, attempts):
    """Where to read the batch, its topic, and the configs that a group needs for the limit."""
    if attempts == 5:
        return live, live.shared_topic('one-batch'), {}
    if live.version_is_before(4, 3):
        two = live.once(TwoAttempts)
        return live.at(two), two.topic, {}
    return live, live.shared_topic('one-batch'), {'attempts': attempts}


def share_one_batch(live, which, mode, attempts, members):
    """So many members read it between them: everything handed out, every count 1."""
    live, topic, configs = place_of(live, attempts)
    batches = live.broker.batches(topic)
    check(len(batches) == 1 and batches[0][1] == 5000, f'the topic is not one batch: {batches}')
    group = live.group('one-batch', **configs)
    cats = [live.cat(which, group, topic, '-X', f'share.acquire.mode={mode}', '-f', PLACE, '-J')
            for _ in range(members)]
    start = time.monotonic()
    wait_until(lambda: sum(c.out().count(b'\n') for c in cats) >= 5000, 40,
               f'5,000 lines from {members} members')
    took = time.monotonic() - start
    for cat in cats:
        cat.stop()
    reports = [cat.report() for cat in cats]
    received = sum(r['bytes_received'] for r in reports)
    live.note(f'{members}: {took:.1f} s, {received / 1e6:.1f} MB')
    rows = [row for cat in cats for row in cat.pairs()]
    check_complete(live, topic, [(p, o) for p, o, _ in rows])
    counts = {d for _, _, d in rows}
    check(counts == {1}, f'{members} members: delivery counts {sorted(counts)}')
    check_settled(live, group, topic)


def share_among_tiny(live, mode, attempts):
    """Two groups at a time, which have nothing to do with each other."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for group in [pool.submit(share_one_batch, live, 'tiny', mode, attempts, members)
                      for members in (8, 1, 4, 2)]:
            group.result()


@case('one-batch', everywhere=True)
def one_batch_between_tiny_members_batch_optimized(live):
    """1, 2, 4 and 8 Tiny members through slots of 2 KiB: all of it, every count 1."""
    share_among_tiny(live, 'batch_optimized', 5)


@case('one-batch', everywhere=True)
def one_batch_between_tiny_members_batch_optimized_two_attempts(live):
    """The same where a record is delivered twice at the most."""
    share_among_tiny(live, 'batch_optimized', 2)


@case('one-batch', since=(4, 2), everywhere=True)
def one_batch_between_tiny_members_record_limit(live):
    """The same when only as many records are locked as there is room for."""
    share_among_tiny(live, 'record_limit', 5)


@case('one-batch', since=(4, 2), everywhere=True)
def one_batch_between_tiny_members_record_limit_two_attempts(live):
    """Two attempts, and only as many records locked as there is room for."""
    share_among_tiny(live, 'record_limit', 2)


@case('one-batch', everywhere=True)
def default_reads_one_batch_of_5000(live):
    """The same batch through the default limits."""
    share_one_batch(live, 'cat', 'batch_optimized', 5, 1)


@case(everywhere=True)
def delivery_limit_of_two_ends_a_record(live):
    """Released twice and then gone: the limit that the tests above rely on."""
    place, _, configs = place_of(live, 2)
    topic = place.topic('two')
    group = place.group('two', lock_ms=1000, **configs)
    place.admin.produce(topic, count=10)
    cat = place.cat('cat', group, topic, '-A', 'release', '-e', '-i', '2500', '-f', PLACE).succeed()
    wanted = [(0, o, d) for o in range(10) for d in (1, 2)]
    check(sorted(cat.pairs()) == wanted, f'delivered: {sorted(cat.pairs())[:5]}')
    check_settled(place, group, topic)


def release_in_mid_batch(live, mode):
    """A Tiny member releases a hundred and leaves; two others get all there is."""
    topic = live.shared_topic('one-batch')
    group = live.group('given-back')
    arguments = ['-X', f'share.acquire.mode={mode}', '-f', PLACE, '-J']
    first = live.cat('tiny', group, topic, '-A', 'release', '-c', '100', *arguments).succeed(20)
    released = first.report()['released']
    check(released >= 100, f'-J says released={released}')
    cats = [live.cat('tiny', group, topic, *arguments) for _ in range(2)]
    wait_until(lambda: sum(c.out().count(b'\n') for c in cats) >= 5000, 30, '5,000 lines')
    for cat in cats:
        cat.stop()
    rows = [row for cat in cats for row in cat.pairs()]
    check_complete(live, topic, [(p, o) for p, o, _ in rows])
    again = sum(1 for _, _, d in rows if d > 1)
    live.note(f'{mode}: {released} released, {again} with a count above 1')
    check(again <= released, f'{again} came again, though only {released} were released')
    check_settled(live, group, topic)


@case('one-batch', everywhere=True)
def release_in_mid_batch_batch_optimized(live):
    """A hundred released and the rest given back: nothing is lost, no other count rises."""
    release_in_mid_batch(live, 'batch_optimized')


@case('one-batch', since=(4, 2), everywhere=True)
def release_in_mid_batch_record_limit(live):
    """The same when only as many records are locked as there is room for."""
    release_in_mid_batch(live, 'record_limit')


def leave_in_mid_batch(live, which):
    """One member has locked the batch and prints 2,000 of it; another waits for the rest."""
    topic = live.shared_topic('one-batch')
    group = live.group('mid-batch')
    first = live.cat(which, group, topic, '-c', '2000', '-f', '%p %o %s\\n', pipe=True)
    ready, _, _ = select.select([first.pipe], [], [], 20)
    check(ready, 'nothing printed within 20 s')
    second = live.cat(which, group, topic, '-f', PLACE)
    wait_members(live, group, 2)
    time.sleep(1)
    check(second.out_size() == 0, 'the second member got a part of what the first has locked')
    taken = rows_of(read_rest(first))  # which lets it go on, to its end
    first.succeed()
    start = time.monotonic()
    second.wait_lines(3000, 10)  # and not after the lock of 30 s
    live.note(f'{which}: the rest {time.monotonic() - start:.1f} s after the end')
    second.stop()
    check(len(taken) == 2000, f'the first member printed {len(taken)}')
    check_complete(live, topic, taken + [(p, o) for p, o, _ in second.pairs()])
    counts = {d for _, _, d in second.pairs()}
    check(counts <= {1, 2}, f'delivery counts {sorted(counts)}')
    check_settled(live, group, topic)


@case('one-batch', everywhere=True)
def close_in_mid_batch_hands_over_the_rest(live):
    """-c 2000 of a batch of 5,000: the member that waits gets the other 3,000 at once."""
    leave_in_mid_batch(live, 'cat')
    leave_in_mid_batch(live, 'tiny')


@case(everywhere=True)
def two_ranges_far_apart_in_one_batch(live):
    """All but 10 to 19 and 5000 to 5009 are accepted: a Tiny member gets these, each once."""
    topic = live.topic('ranges')
    group = live.group('ranges')
    live.admin.produce(topic, count=5100, size=30, batch_size=1_000_000, linger_ms=60_000)
    batches = live.broker.batches(topic)
    check(len(batches) == 1 and batches[0][1] == 5100, f'the topic is not one batch: {batches}')
    worker = live.worker('worker', group, [topic], 'count=5100', 'skip=10-19,5000-5009').succeed()
    report = worker.report()
    check(report['acks_failed'] == report['acks_unknown'] == 0, f'the worker says {report}')
    cat = live.cat('tiny', group, topic, '-e', '-i', '2500', '-f', PLACE, '-J').succeed()
    wanted = [(0, o) for o in (*range(10, 20), *range(5000, 5010))]
    rows = sorted(cat.pairs())
    check([row[:2] for row in rows] == wanted, f'{len(rows)} records: {rows}')
    counts = {d for _, _, d in rows}
    received = cat.report()['bytes_received'] / batches[0][2]
    live.note(f'count {counts}, received {received:.1f} times the batch')
    check(len(counts) == 1, f'delivery counts {sorted(counts)}')
    check_settled(live, group, topic)
