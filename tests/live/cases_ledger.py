# SPDX-License-Identifier: Apache-2.0
"""A random mix of accept, release, reject and renew: the accounts are exact."""
import time

from checks import check_settled
from client import check
from ledger import Ledger
from registry import case

RECORDS = 5000
MIX = ['accept=70', 'release=15', 'reject=5']


def topics_of(live, topics, partitions, records=RECORDS):
    """So many topics of so many partitions, with so many records in all."""
    names = [live.topic('mix', partitions) for _ in range(topics)]
    parts = [records // topics + (i < records % topics) for i in range(topics)]
    for filled in [live.admin.submit('produce', topic=name, count=count)
                   for name, count in zip(names, parts)]:
        filled.result(60)
    return names


def mix(live, seed):
    """The weights of a mix; renewals where the broker knows them."""
    renew = [] if live.version_is_before(4, 2) else ['renew=10']
    return [f'seed={seed}', *MIX, *renew]


def attempts_of(live):
    """More attempts than a release is likely to use up, where a group can ask for them."""
    return {} if live.version_is_before(4, 3) else {'attempts': 10}


def run_mix(live, topics, seeds, which='worker', attempts=True, more=()):
    """A worker for each seed in one group; their ledger, in which everything must add up."""
    configs = attempts_of(live) if attempts else {}
    group = live.group('mix', **configs)
    start = time.monotonic()
    workers = [live.worker(which, group, topics, *mix(live, seed), *more) for seed in seeds]
    for worker in workers:
        worker.succeed(60)
    ledger = Ledger(workers)
    live.note(f'{len(ledger.all())} deliveries in {time.monotonic() - start:.1f} s')
    ledger.check_exact(live, group, topics, configs.get('attempts', 5))
    for word in 'accept', 'release', 'reject':
        ledger.check(ledger.says(word), f'the mix has no {word}')
    return ledger


@case(everywhere=True)
def random_mix_over_1_topic_of_1_partition(live):
    """5,000 records: every count without a hole, nothing after its end, the counters agree."""
    run_mix(live, topics_of(live, 1, 1), [11])


@case()
def random_mix_over_4_topics_of_1_partition(live):
    """The same, 1,250 records each."""
    run_mix(live, topics_of(live, 4, 1), [41])


@case()
def random_mix_over_1_topic_of_4_partitions(live):
    """The same; 300 records are held and settled in random order."""
    run_mix(live, topics_of(live, 1, 4), [14], more=['hold=300'])


@case()
def random_mix_over_2_topics_of_2_partitions(live):
    """The same with a commit after every 100 acknowledgements."""
    ledger = run_mix(live, topics_of(live, 2, 2), [22], more=['hold=20', 'commit=100'])
    check(len(ledger.commits) > RECORDS // 100, f'{len(ledger.commits)} commits')
    failed = [commit.name for commit in ledger.commits if commit.name != 'ok']
    check(not failed, f'commits ended with {failed[:5]}')


@case()
def random_mix_over_15_topics_of_2_partitions(live):
    """The same, 333 records each."""
    run_mix(live, topics_of(live, 15, 2), [152], more=['hold=20'])


@case(everywhere=True)
def random_mix_of_two_members_over_4_partitions(live):
    """Two members with different seeds in one group: their ledgers together are exact."""
    ledger = run_mix(live, topics_of(live, 1, 4), [5, 6], more=['hold=20'])
    check(all(w.lines() for w in ledger.workers), 'one member got nothing')


@case(everywhere=True)
def random_mix_with_tiny_limits(live):
    """The same through 16 KiB, 2 topics of 2 partitions."""
    run_mix(live, topics_of(live, 2, 2, 2000), [3], which='worker_tiny', more=['hold=8'])


@case(everywhere=True)
def forgotten_records_come_again_after_the_lock(live):
    """Some are never acknowledged: each of them comes once more, and the rest is exact."""
    topics = topics_of(live, 1, 2, 1000)
    configs = attempts_of(live)
    group = live.group('forget', lock_ms=2000, **configs)
    worker = live.worker('worker', group, topics, *mix(live, 7), 'forget=4', 'hold=10',
                         'idle_ms=4000').succeed(60)
    ledger = Ledger([worker])
    forgotten = ledger.says('forget')
    check(forgotten > 10, f'only {forgotten} forgotten')
    ledger.check_said()
    ledger.check_every_record(live, topics)
    ledger.check_deliveries(configs.get('attempts', 5))
    # close() gives back what is held; whether that counts as a failure where the lock is gone is
    # not what this is about.
    ledger.check_counters(acks_failed=None, expired=forgotten)
    told = worker.err().count('its lock ran out while the application held it')
    live.note(f'{forgotten} forgotten, {told} told')
    check(told == forgotten, f'{forgotten} forgotten, but {told} were told')
    check_settled(live, group, topics[0])
