# SPDX-License-Identifier: Apache-2.0
"""Transactions: who sees what of them, and that their markers are in nobody's way."""
import time

from checks import check_settled, read_all
from client import check
from registry import case

PLACE = '%p %o\\n'


@case(everywhere=True)
def aborted_data_only_when_uncommitted_is_wanted(live):
    """Transactions: read_committed gets the committed ones, read_uncommitted all; no markers."""
    topic = live.topic('transactions')
    plan = [('commit', 50), ('abort', 70), ('abort', 500), ('commit', 30), (None, 20), ('abort', 9)]
    committed, everyone, offset = [], [], 0
    for fate, count in plan:
        live.admin.produce(topic, count=count, first=offset,
                           **({'transaction': fate} if fate else {}))
        everyone += range(offset, offset + count)
        committed += range(offset, offset + count) if fate != 'abort' else ()
        offset += count + (1 if fate else 0)  # the marker takes an offset too
    for isolation, expected in ('read_committed', committed), ('read_uncommitted', everyone):
        group = live.group('transactions', isolation=isolation)
        cat = live.cat('cat', group, topic, '-e', '-i', '2500', '-f', '%o\\n').succeed(60)
        offsets = [o for o, in cat.pairs()]
        check(sorted(offsets) == expected, f'{isolation}: {len(offsets)} records, '
              f'not {len(expected)}; wrong: {sorted(set(offsets) ^ set(expected))[:5]}')
        check_settled(live, group, topic)


@case(everywhere=True)
def interleaved_transactions_of_two_producers(live):
    """On one partition, batch by batch, one committed and one aborted, and the other way round."""
    topic = live.topic('interleaved')
    do = live.admin.transaction
    fates = {'a': ['commit', 'abort', 'commit'], 'b': ['abort', 'commit', 'abort']}
    sent = {(fate, name): [] for name in fates for fate in ('commit', 'abort')}
    for turn in range(3):
        for name in fates:
            do(name, 'begin')
        for piece in range(10):
            for name, fate in fates.items():
                sent[fate[turn], name] += do(name, 'send', topic, count=1 + 3 * piece, size=500)
        for name, fate in fates.items():
            do(name, fate[turn])
    for name in fates:
        do(name, 'close')
    committed = sent['commit', 'a'] + sent['commit', 'b']
    everyone = committed + sent['abort', 'a'] + sent['abort', 'b']
    end = live.admin.end_offsets(topic)[0]
    check(end == len(everyone) + 6, f'{end} offsets for {len(everyone)} records and 6 markers')
    for which in 'cat', 'tiny':
        read_all(live, topic, committed, which, isolation='read_committed')
        read_all(live, topic, everyone, which, isolation='read_uncommitted')


@case(everywhere=True)
def open_transaction_holds_back_read_committed_alone(live):
    """What stands behind it waits until it ends; read_uncommitted gets all of it at once."""
    topic = live.topic('open')
    do = live.admin.transaction
    do('open', 'begin')
    before = do('open', 'send', topic, count=30)
    live.admin.produce(topic, count=100)
    group = live.group('open', isolation='read_committed')
    waits = live.cat('cat', group, topic, '-f', PLACE)
    sees = live.cat('cat', live.group('open'), topic, '-f', PLACE)
    sees.wait_lines(130, 15)
    time.sleep(1)
    check(waits.out_size() == 0, f'read_committed got {waits.lines()[:3]}')
    do('open', 'abort')
    waits.wait_lines(100, 10)
    do('open', 'begin')
    after = do('open', 'send', topic, count=20)
    do('open', 'commit')
    do('open', 'close')
    waits.wait_lines(120, 10)
    sees.wait_lines(150, 10)
    for cat, wanted in (waits, set(range(30, 130)) | set(after)), (
            sees, set(before) | set(range(30, 130)) | set(after)):
        cat.stop()
        offsets = [o for _, o in cat.pairs()]
        check(len(offsets) == len(wanted) and set(offsets) == wanted,
              f'{len(offsets)} records, not {len(wanted)}')
    check_settled(live, group, topic)
