# SPDX-License-Identifier: Apache-2.0
"""CPU time per record: kshare_cat beside Kafka's own share consumer, same topic, same run."""
import statistics

ROUNDS = 3
RECORDS = 1_000_000


def measure(start, live, name):
    """Consumes the whole topic with a fresh group: what -J says, and what /proc says.

    cpu_us and whole_us: CPU time a record; the former leaves out what came before the first record,
    where the client tells (starting a JVM is not a consumer's work).
    """
    group = live.group(f'bench-{name}')
    broker_before = live.broker.cpu_seconds()
    cat = start(group, 'million', '-c', str(RECORDS), '-m', 'implicit',
                '-f', '%p %o\\n', '-J').succeed(180)
    report = cat.report()
    report['whole_us'] = cat.cpu_s / report['records'] * 1e6
    before = report.get('first_record_cpu_ms', 0) / 1000
    report['cpu_us'] = (cat.cpu_s - before) / report['records'] * 1e6
    report['peak_kb'] = cat.peak_kb
    report['broker_us'] = (live.broker.cpu_seconds() - broker_before) / report['records'] * 1e6
    steady = report['seconds'] - report['first_record_ms'] / 1000
    report['rate'] = report['records'] / max(steady, 1e-3)
    cat.close()
    return report


def run(live):
    live.warm()
    live.shared_topic('million')
    clients = {'kshare_cat': lambda *a: live.cat('cat', *a), 'java': live.java}
    results = {name: [] for name in clients}
    for _ in range(ROUNDS):
        for name, start in clients.items():
            results[name].append(measure(start, live, name))
    print(f'{RECORDS:,} records of 100 bytes, 4 partitions, Apache Kafka {live.version}, '
          f'median of {ROUNDS} runs')
    columns = ('cpu_us', 'whole_us', 'rate', 'first_record_ms', 'peak_kb', 'broker_us')
    print(f'{"":12}' + ''.join(f'{column:>16}' for column in columns))
    medians = {}
    for name, runs in results.items():
        medians[name] = {c: statistics.median(r[c] for r in runs) for c in columns}
        print(f'{name:12}' + ''.join(f'{medians[name][c]:>16,.3f}' for c in columns))
    ratio = medians['java']['cpu_us'] / medians['kshare_cat']['cpu_us']
    print(f'the Java client takes {ratio:.1f} times the CPU time of kshare_cat')
