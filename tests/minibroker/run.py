#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kshare_minibroker: its options and every one of its commands, by what kshare_cat makes of them.

    run.py --programs DIR [--broker PATH] [--only PATTERN]

As tests/examples/run.py, which has the means for this.
"""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'examples'))
import run as examples  # noqa: E402
from run import Broker, TIMEOUT_S, check, equal, test, wait_for  # noqa: E402

examples.TESTS.clear()
examples.__doc__ = __doc__


def values(result):
    """The numbers that generated records begin with."""
    equal(result.code, 0, str(result.err))
    return sorted(int(line.split()[0]) for line in result.lines())


def read(programs, broker, count, *words, **options):
    return values(programs.run('kshare_cat', *broker.cat('-c', count, *words, **options)))


@contextlib.contextmanager
def cat_that_runs(programs, broker, *words, **options):
    """Ended by SIGTERM at the end, also when it was stopped."""
    process = programs.start('kshare_cat', *broker.cat(*words, **options))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def next_value(process):
    return int(process.stdout.readline().split()[0])


def settle(broker, count, group='g', topic='t'):
    """Waits for so many acknowledged records: what is not would come again."""
    wait_for(lambda: broker.state(group, topic)[2] == count, f'{count} acknowledged')


def members(broker, group='g'):
    return [line.split()[1] for line in broker.ask('members', group)[:-1]]


def port_pair():
    """The first of two free ports, below those that the kernel gives to others."""
    for port in range(20000 + os.getpid() % 1000 * 10, 31000, 2):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(('127.0.0.1', port))
                other.bind(('127.0.0.1', port + 1))
                return port
            except OSError:
                continue
    raise examples.Failure('no two free ports')


# ---- The program

@test
def the_first_line_names_every_node(programs):
    with Broker(programs, '-n', 3, '-t', 't:3') as broker:
        addresses = [address.split(':') for address in broker.address.split(',')]
        equal(len(set(port for _, port in addresses)), 3, broker.address)
        for host, port in addresses:
            socket.create_connection((host, int(port))).close()
        equal([broker.do('leader', 't', p) for p in range(3)], [[0, 0], [1, 0], [2, 0]], 'leaders')


@test
def it_ends_with_its_input_or_by_signal_and_frees_its_ports(programs):
    port = port_pair()
    for end in ('input', signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([programs.broker, '-p', str(port), '-n', '2'],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = process.stdout.readline().decode()
        equal(line, f'127.0.0.1:{port},127.0.0.1:{port + 1}\n', str(end))
        if end == 'input':
            process.stdin.close()
        else:
            process.send_signal(end)
        equal(process.wait(TIMEOUT_S), 0, str(end))
        process.stdout.close()
        process.stdin.close()


@test
def with_w_it_goes_on_without_input(programs):
    process = subprocess.Popen([programs.broker, '-w', '-r', 't:3', '-t', 't'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    address = process.stdout.readline().decode().strip()
    result = programs.run('kshare_cat', '-b', address, '-g', 'g', '-t', 't', '-c', 3)
    equal(values(result), [0, 1, 2], 'records')
    equal(process.poll(), None, 'still running')
    process.terminate()
    equal(process.wait(TIMEOUT_S), 0, 'exit')
    process.stdout.close()


@test
def records_come_from_standard_input(programs):
    process = subprocess.Popen([programs.broker, '-t', 't:2', '-i', 't'], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    address = process.stdout.readline().decode().strip()
    process.stdin.write(b'one\ntwo\n\nthe last one')
    process.stdin.close()
    result = programs.run('kshare_cat', '-b', address, '-g', 'g', '-t', 't', '-c', 4, '-f',
                          '%p %o %s\\n')
    equal(sorted(result.lines()), ['0 0 one', '0 1 ', '1 0 two', '1 1 the last one'], 'records')
    process.terminate()
    equal((process.wait(TIMEOUT_S), process.stdout.read()), (0, b''), 'exit')
    process.stdout.close()


@test
def a_mistake_in_the_options_says_what_is_right(programs):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, wanted in (
                (['-n', '0'], '-n is 1 to 64, not 0'), (['-n', 'x'], '-n is a number'),
                (['-t', 'a:b'], 'PARTITIONS is a number, not "b"'), (['-t', 'a b'], 'a number'),
                (['-t', 'a:1:2'], '-t takes TOPIC[:PARTITIONS]'), (['-t', 'a/b'], 'letters'),
                (['-t', ':3'], '-t takes TOPIC[:PARTITIONS], a name first, not ":3"'),
                (['-t', ''], 'a name first, not ""'), (['-t', ' :3'], 'a name first'),
                (['-r', 't'], '-r takes TOPIC:COUNT[:SIZE]'), (['-r', 't:1'], 'no topic "t"'),
                (['-i', 't'], 'no topic "t"'), (['-k', '3.9'], 'Kafka is 4.1, 4.2, 4.3 or 4.4'),
                (['-X', 'a'], '-X takes NAME=VALUE'), (['-X', 'a=1'], 'fetch.max.bytes'),
                (['-X', 'share.isolation.level=none'], 'read_uncommitted or read_committed'),
                (['-c', 'drop x'], 'NODE is a number'), (['-z'], '-h lists'), (['x'], '-h'),
                (['-p', str(port)], f'{port} is taken'), (['-p', '65535', '-n', '2'], '-p')):
            done = subprocess.run([programs.broker, *words], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=TIMEOUT_S)
            equal((done.returncode, done.stdout), (1, b''), str(words))
            check(wanted in done.stderr.decode().splitlines()[-1], f'{words}: {done.stderr!r}')


@test
def a_mistake_in_a_command_says_what_is_right(programs):
    with Broker(programs, '-n', 2, '-t', 't:2') as broker:
        broker.do('append', 't', 0, 1)
        for line, wanted in (
                ('nonsense', 'no command "nonsense"; help lists them'),
                ('append u 0 1', 'no topic "u"; there is t; usage: append TOPIC PARTITION'),
                ('append t 2 1', 'PARTITION is 0 to 1, not 2'), ('append t 0', 'COUNT is missing'),
                ('append t 0 9 9999999', 'at most'), ('append t 0 1 1 1 1', 'too many words: "1"'),
                ('record t 0 k', '"k" is not key=K, value=V or NAME:V'),
                ('record t 0 value="a', 'not closed'), ('record t 0 value="\\q"', 'after \\ comes'),
                ('lines t /nowhere', '/nowhere cannot be read'),
                ('lines t /', '/ cannot be read'), ('topic t', 'topic "t" is there'),
                ('topic a/b', 'letters'), ('partitions t 1', 'COUNT is 2 to'),
                ('transaction t 0 end 1', 'commit or abort'),
                ('trim t 0 9', 'OFFSET is 0 to 1, not 9'),
                ('config g lock 1', 'share.record.lock.duration.ms'),
                ('limit g 0', 'COUNT is 1 to'),
                ('expel g m', 'group "g" has no member "m"'), ('share maybe', 'off or on'),
                ('error Produce 6', 'there are ApiVersions, Metadata'),
                ('error Fetch NOT_THERE', 'such as NOT_LEADER_OR_FOLLOWER'),
                ('error Fetch 40000', 'CODE is a number'), ('error Fetch 6 often', 'COUNT'),
                ('move t 0 2', 'NODE is 0 to 1, not 2'), ('move t 0 1 quietly', 'hint or nohint'),
                ('start 0', 'node 0 is running'), ('stall', 'MS is missing'),
                ('record-state g t 0 1', 'OFFSET is 0 to 0'), ('help nothing', 'no command')):
            answer = broker.ask(line)
            equal(len(answer), 1, line)
            check(answer[0].startswith('error: ') and wanted in answer[0], f'{line}: {answer}')
            check('usage: ' in answer[0] or line == 'nonsense', f'{line}: {answer}')
        broker.do('stop', 1)
        check('start it first' in broker.ask('move', 't', 0, 1)[0], 'a stopped node')
        check('already' in broker.ask('stop', 1)[0], 'stopped twice')
        equal(broker.ask('leader', 't', 0), ['ok 0 0'], 'nothing was changed')
        equal(broker.ask('offsets', 't', 0), ['ok 0 1'], 'nothing was changed')


@test
def help_lists_every_command_and_empty_lines_are_passed_over(programs):
    with Broker(programs) as broker:
        lines = broker.ask('help')
        names = [line.split()[0] for line in lines[:-1:2]]
        check(len(names) == len(set(names)) and 'stall' in names and 'help' in names, str(names))
        text = subprocess.check_output([programs.broker, '-h'], timeout=TIMEOUT_S).decode()
        for line in lines[:-1]:
            check(line in text, f'-h has no {line!r}')
        equal(broker.ask('\n# a comment\n   \nhelp', 'stall')[0], '  stall MS [NODE]', 'stall')


# ---- Topics and records

@test
def records_are_as_the_commands_say(programs):
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as file, \
            Broker(programs, '-t', 't', '-t', 'u:2', '-r', 'u:3:12') as broker:
        file.write('first\nsecond\n')
        file.flush()
        equal(broker.do('append', 't', 0, 2, 5), [0], 'append')
        equal(broker.do('value', 't', 0, 'some  text'), [2], 'value')
        equal(broker.do(r'record t 0 key="a key" value="\x41\n" name:v'), [3], 'record')
        equal(broker.do('record t 0 value='), [4], 'empty value, no key')
        equal(broker.do('lines', 't', file.name), [2], 'lines')
        equal(broker.ask('offsets', 't', 0), ['ok 0 7'], 'offsets')
        result = programs.run('kshare_cat', *broker.cat('-c7', '-f', '%o|%k|%s|%K|%S|%h;'))
        equal(result.out.decode().split(';')[:-1],
              ['0||0 xxx|-1|5|', '1||1 xxx|-1|5|', '2||some  text|-1|10|', '3|a key|A\n|5|2|name=v',
               '4|||-1|0|', '5||first|-1|5|', '6||second|-1|6|'], 'records')
        result = programs.run('kshare_cat', *broker.cat('-c3', '-f', '%p %o %s\\n', topic='u'))
        equal(sorted(result.lines()), ['0 0 0 xxxxxxxxxx', '0 1 2 xxxxxxxxxx', '1 0 1 xxxxxxxxxx'],
              '-r')


@test
def damage_holes_markers_and_compaction_are_passed_over(programs):
    with Broker(programs, '-t', 't') as broker:
        equal(broker.do('append', 't', 0, 2, 10, 3), [0], 'with a hole')
        equal(broker.do('corrupt', 't', 0), [5], 'corrupt')
        equal(broker.do('transaction', 't', 0, 'commit', 2, 10), [6], 'committed')
        equal(broker.do('transaction', 't', 0, 'abort', 2, 10), [9], 'aborted')
        equal(broker.do('append', 't', 0, 2), [12], 'to be compacted')
        equal(broker.do('append', 't', 0, 1), [14], 'the last one')
        broker.do('compact', 't', 0, 12, 13)
        broker.do('config', 'c', 'share.isolation.level', 'read_committed')
        for group, wanted in (('g', [0, 1, 6, 7, 9, 10, 14]), ('c', [0, 1, 6, 7, 14])):
            result = programs.run('kshare_cat', *broker.cat('-ei500', group=group))
            equal(values(result), wanted, group)
            check(b'CRC' in result.err, str(result.err))
            equal(broker.state(group)[:2], [0, 0], 'nothing is left')


@test
def the_log_can_be_trimmed_and_held_back(programs):
    with Broker(programs, '-t', 't', '-X', 'share.isolation.level=read_committed') as broker:
        for _ in range(4):
            broker.do('append', 't', 0, 5)
        broker.do('trim', 't', 0, 5)
        equal(broker.ask('offsets', 't', 0), ['ok 5 20'], 'offsets')
        broker.do('stable', 't', 0, 10)
        result = programs.run('kshare_cat', *broker.cat('-ei500'))
        equal(values(result), [5, 6, 7, 8, 9], 'up to the last stable offset')
        broker.do('stable', 't', 0, 'none')
        equal(read(programs, broker, 10), list(range(10, 20)), 'the others')


@test
def topics_are_made_widened_deleted_and_made_again(programs):
    with Broker(programs, '-t', 't', '-X', 'group.share.heartbeat.interval.ms=100') as broker, \
            cat_that_runs(programs, broker, '-f', '%p %s\\n') as cat:
        broker.do('value', 't', 0, 'a')
        equal(cat.stdout.readline(), b'0 a\n', 'before')
        broker.do('partitions', 't', 3)
        broker.do('value', 't', 2, 'b')
        equal(cat.stdout.readline(), b'2 b\n', 'a new partition')
        broker.do('delete', 't')
        check(broker.ask('append', 't', 0, 1)[0].startswith('error: no topic'), 'it is gone')
        broker.do('topic', 't', 1)
        broker.do('value', 't', 0, 'c')
        equal(cat.stdout.readline(), b'0 c\n', 'made again')


# ---- Groups

@test
def locks_end_when_they_should(programs):
    with Broker(programs, '-t', 't', '-r', 't:10') as broker:
        broker.do('lock', 'g', 60000)
        with cat_that_runs(programs, broker, '-c1', '-A', 'renew') as cat:
            wait_for(lambda: broker.state('g')[1] > 0, 'acquired')
            cat.send_signal(signal.SIGSTOP)
            held = broker.state('g')[1]
            broker.do('advance', 30000)
            equal(broker.state('g')[1], held, 'half of the lock')
            broker.do('advance', 30001)
            equal(broker.state('g')[1], 0, 'the end of the lock')
    with Broker(programs, '-t', 't', '-r', 't:10', '-l', '400') as broker:
        with cat_that_runs(programs, broker, '-m', 'explicit', '-A', 'renew') as cat:
            next_value(cat)
            cat.send_signal(signal.SIGSTOP)
            wait_for(lambda: broker.state('g')[1] == 0, 'by -l, without a push')


@test
def the_delivery_limit_archives(programs):
    with Broker(programs, '-t', 't', '-r', 't:4', '-d', 3) as broker:
        broker.do('limit', 'two', 2)
        for group, limit in (('two', 2), ('three', 3)):
            result = programs.run('kshare_cat', *broker.cat('-c', 4 * limit, '-A', 'release', '-f',
                                                            '%d ', group=group))
            equal(sorted(result.out.decode().split()),
                  sorted(4 * [str(n) for n in range(1, limit + 1)]), 'delivery counts')
            equal(broker.state(group), [0, 0, 0, 4], group)
            equal(broker.ask('record-state', group, 't', 0, 2), [f'ok archived {limit}'], group)


@test
def the_state_is_exact(programs):
    with Broker(programs, '-n', 2, '-t', 't:2', '-r', 't:20') as broker:
        programs.run('kshare_cat', *broker.cat('-c4', '-A', 'reject', '-X', 'max.poll.records=4'))
        four = broker.state('g')
        other = broker.state('g', partition=1)
        equal(sorted([four, other]), sorted([[6, 0, 0, 4], [10, 0, 0, 0]]), 'rejected')
        with cat_that_runs(programs, broker) as cat:
            for _ in range(16):
                next_value(cat)
            wait_for(lambda: broker.state('g')[2] + broker.state('g', partition=1)[2] == 16, 'all')
            [member] = members(broker)
            lines = broker.ask('state')
            nodes = [re.escape(address) for address in broker.address.split(',')]
            start = r'  t-[01] start 10: available 0, acquired 0, acknowledged'
            for pattern in (
                    r' time \d+ ms, share groups on',
                    rf' node 0 {nodes[0]} up, coordinator: connections \d, share sessions 1',
                    rf' node 1 {nodes[1]} up: connections \d, share sessions 1',
                    r' topic t', r'  t-0 leader 0 epoch 0 offsets 0 to 10',
                    r'  t-1 leader 1 epoch 0 offsets 0 to 10', r' group g epoch \d+',
                    rf'  member {re.escape(member)} epoch \d+ has t-0 t-1',
                    start + ' 6, archived 4', start + ' 10, archived 0',
                    r' requests ApiVersions \d+ Metadata \d+ .*ShareFetch \d+.*',
                    r' violations 0', 'ok'):
                check(any(re.fullmatch(pattern, line) for line in lines), f'{pattern}: {lines}')
            equal(lines[-1], 'ok', 'the end')
            check(broker.do('requests')[0] > broker.do('requests', 'ShareFetch')[0] > 0, 'requests')
        equal(broker.do('members', 'g'), [0], 'after it left')


@test
def a_group_may_start_at_the_end(programs):
    for words in (['-X', 'share.auto.offset.reset=latest'],
                  ['-c', 'config g share.auto.offset.reset latest']):
        with Broker(programs, '-t', 't', '-r', 't:5', *words) as broker, \
                cat_that_runs(programs, broker, '-c1') as cat:
            wait_for(lambda: 'start 5:' in str(broker.ask('state')), 'it has started')
            broker.do('append', 't', 0, 1)
            equal(next_value(cat), 5, str(words))


@test
def members_and_sessions_can_be_lost(programs):
    with Broker(programs, '-t', 't', '-X', 'group.share.heartbeat.interval.ms=100') as broker, \
            cat_that_runs(programs, broker, '-v') as cat:
        broker.do('append', 't', 0, 1)
        equal(next_value(cat), 0, 'at first')
        for turn, command in enumerate(('expel g all', 'forget g'), 1):
            before = broker.do('requests', 'ShareGroupHeartbeat')[0]
            broker.do(command)
            wait_for(lambda: broker.do('requests', 'ShareGroupHeartbeat')[0] > before + 2, command)
            broker.do('append', 't', 0, 1)
            equal(next_value(cat), turn, command)
        cat.send_signal(signal.SIGSTOP)
        [member] = members(broker)
        equal(broker.do('drop-session', 'g', member), [1], 'by its id')
        check(any('share sessions 0' in line for line in broker.ask('state')), 'no session')
        cat.send_signal(signal.SIGCONT)
        broker.do('append', 't', 0, 1)
        equal(next_value(cat), 3, 'in a new session')
        cat.terminate()
        text = cat.stderr.read().decode()
        check('joining the group again' in text, text)


@test
def silent_members_are_removed(programs):
    with Broker(programs, '-t', 't') as broker, cat_that_runs(programs, broker) as cat:
        wait_for(lambda: broker.do('members', 'g') == [1], 'joined')
        cat.send_signal(signal.SIGSTOP)
        broker.do('advance', 45001)
        equal(broker.do('members', 'g'), [0], 'after the session timeout')


# ---- Faults

@test
def errors_on_every_api_are_survived(programs):
    for api, code in (('ApiVersions', 'UNKNOWN_SERVER_ERROR'), ('Metadata', 5),
                      ('FindCoordinator', 'COORDINATOR_NOT_AVAILABLE'),
                      ('ShareGroupHeartbeat', 'COORDINATOR_LOAD_IN_PROGRESS'), ('ShareFetch', 6),
                      ('ShareFetch', 'SHARE_SESSION_NOT_FOUND')):
        with Broker(programs, '-t', 't', '-r', 't:5', '-c', f'error {api} {code} 2') as broker:
            equal(read(programs, broker, 5), list(range(5)), f'{api} {code}')
            check(broker.do('requests', api)[0] >= 2, f'{api} was asked again')


@test
def an_error_lasts_until_it_is_ended(programs):
    for end in ('error ShareFetch NONE', 'clear'):
        with Broker(programs, '-t', 't', '-r', 't:5') as broker:
            broker.do('error', 'ShareFetch', 'UNKNOWN_SERVER_ERROR', 'always')
            with cat_that_runs(programs, broker, '-X', 'retry.backoff.max.ms=100') as cat:
                wait_for(lambda: broker.do('requests', 'ShareFetch')[0] > 3, 'it asks again')
                equal(broker.state('g'), [5, 0, 0, 0], 'nothing is acquired')
                broker.do(end)
                equal(next_value(cat), 0, end)


@test
def one_partition_can_fail(programs):
    with Broker(programs, '-t', 't:2', '-r', 't:10') as broker:
        broker.do('fetch-error', 't', 1, 'KAFKA_STORAGE_ERROR', 'always')
        result = programs.run('kshare_cat', *broker.cat('-ei700', '-f', '%p'))
        equal(result.out, b'00000', 'only the other one')
        broker.do('fetch-error', 't', 1, 'NONE')
        equal(read(programs, broker, 5), [1, 3, 5, 7, 9], 'then this one too')


@test
def acknowledgements_can_fail(programs):
    with Broker(programs, '-t', 't', '-r', 't:5') as broker:
        broker.do('ack-error', 't', 0, 'INVALID_RECORD_STATE')
        result = programs.run('kshare_cat', *broker.cat('-c5', '-J'))
        equal((result.json()['acks_failed'], result.json()['acks_ok']), (5, 0), str(result.err))
        equal(broker.state('g')[2], 0, 'none acknowledged')


@test
def an_answer_that_is_cut_off_is_asked_for_again(programs):
    for api in ('ApiVersions', 'Metadata', 'FindCoordinator', 'ShareGroupHeartbeat', 'ShareFetch'):
        with Broker(programs, '-t', 't', '-r', 't:5', '-c', f'cut {api} 2') as broker:
            equal(read(programs, broker, 5), list(range(5)), api)
            equal(broker.do('violations'), [0], api)
    with Broker(programs, '-t', 't', '-r', 't:5', '-c', 'cut ShareFetch') as broker:
        result = programs.run('kshare_cat', *broker.cat('-c5', '-f', '%d'))
        equal((result.code, result.out), (0, b'22222'), 'acquired, never told, given again')


@test
def an_answer_can_be_lost(programs):
    with Broker(programs, '-t', 't', '-r', 't:5', '-c', 'lose ShareFetch') as broker, \
            cat_that_runs(programs, broker, '-f', '%o %d\\n') as cat:
        wait_for(lambda: broker.state('g')[1] == 5, 'acquired')
        time.sleep(0.3)
        equal(broker.state('g')[1], 5, 'the client does not know')
        broker.do('drop')
        equal(cat.stdout.readline(), b'0 2\n', 'after the connection')


@test
def a_fetch_can_acquire_and_tell_nothing(programs):
    with Broker(programs, '-t', 't', '-r', 't:5', '-c', 'hide 1') as broker, \
            cat_that_runs(programs, broker, '-f', '%o %d\\n') as cat:
        wait_for(lambda: broker.state('g')[1] == 5, 'acquired')
        broker.do('advance', 30001)
        equal(cat.stdout.readline(), b'0 2\n', 'after the lock')


@test
def leaders_move_with_and_without_a_hint(programs):
    for hint in ([], ['nohint']):
        with Broker(programs, '-n', 3, '-t', 't') as broker, \
                cat_that_runs(programs, broker) as cat:
            for turn, node in enumerate((0, 2, 1)):
                if turn:
                    broker.do('move', 't', 0, node, *hint)
                equal(broker.do('leader', 't', 0), [node, turn], 'leader')
                broker.do('append', 't', 0, 1)
                equal(next_value(cat), turn, f'{node} {hint}')
                settle(broker, turn + 1)
            broker.do('move', 't', 0, 'none')
            equal(broker.do('leader', 't', 0), [-1, 3], 'none')
            broker.do('append', 't', 0, 1)
            broker.do('move', 't', 0, 0)
            equal(next_value(cat), 3, 'a leader again')
            equal(broker.do('violations'), [0], 'violations')


@test
def only_a_hint_helps_while_metadata_cannot_be_had(programs):
    for hint in ([], ['nohint']):
        with Broker(programs, '-n', 2, '-t', 't', '-r', 't:1') as broker, \
                cat_that_runs(programs, broker) as cat:
            next_value(cat)
            settle(broker, 1)
            before = broker.do('requests', 'Metadata')[0]
            broker.do('lose', 'Metadata', 'always')
            broker.do('move', 't', 0, 1, *hint)
            broker.do('append', 't', 0, 1)
            if hint:
                wait_for(lambda: broker.do('requests', 'Metadata')[0] > before, 'it asks')
                time.sleep(0.3)
                equal(broker.state('g'), [1, 0, 1, 0], 'it cannot know')
                broker.do('clear')
                broker.do('drop')
            equal(next_value(cat), 1, str(hint))


@test
def the_coordinator_moves(programs):
    with Broker(programs, '-n', 2, '-t', 't', '-X', 'group.share.heartbeat.interval.ms=100',
                '-c', 'coordinator none') as broker, cat_that_runs(programs, broker) as cat:
        wait_for(lambda: broker.do('requests', 'FindCoordinator')[0] > 1, 'none is found')
        for node in (1, 0):
            before = broker.do('requests', 'FindCoordinator')[0]
            broker.do('coordinator', node)
            wait_for(lambda: broker.do('requests', 'FindCoordinator')[0] > before, f'node {node}')
            broker.do('append', 't', 0, 1)
            equal(next_value(cat), 1 - node, f'node {node}')
            equal(broker.do('members', 'g'), [1], 'the same member')


@test
def nodes_stop_and_start(programs):
    with Broker(programs, '-n', 2, '-t', 't:2') as broker, cat_that_runs(programs, broker) as cat:
        broker.do('append', 't', 0, 1)
        next_value(cat)
        settle(broker, 1)
        broker.do('stop', 0)
        port = int(broker.address.split(',')[0].split(':')[1])
        with socket.socket() as probe:
            check(probe.connect_ex(('127.0.0.1', port)) != 0, 'refused')
        equal(broker.do('leader', 't', 0), [1, 1], 'the other one leads')
        check(any(' stopped: connections 0' in line for line in broker.ask('state')), 'state')
        broker.do('append', 't', 0, 1)
        equal(next_value(cat), 1, 'from the other one')
        settle(broker, 2)
        broker.do('start', 0)
        socket.create_connection(('127.0.0.1', port)).close()
        broker.do('move', 't', 0, 0)
        broker.do('append', 't', 0, 1)
        equal(next_value(cat), 2, 'from the first one again')


@test
def connections_drop(programs):
    with Broker(programs, '-t', 't') as broker, cat_that_runs(programs, broker, '-v') as cat:
        for turn in range(3):
            broker.do('append', 't', 0, 1)
            equal(next_value(cat), turn, 'record')
            settle(broker, turn + 1)
            check(broker.do('drop', *([0] if turn else []))[0] > 0, 'somebody was there')
        cat.terminate()
        check(b'lost 127.0.0.1' in cat.stderr.read(), 'it noticed')


@test
def a_stall_passes(programs):
    for which in ([], [0]):
        with Broker(programs, '-t', 't', '-n', 2) as broker, cat_that_runs(programs, broker) as cat:
            broker.do('append', 't', 0, 1)
            next_value(cat)
            begin = time.monotonic()
            broker.do('stall', 600, *which)
            broker.do('append', 't', 0, 1)
            equal(next_value(cat), 1, 'it goes on')
            check(time.monotonic() - begin >= 0.6, 'nothing came before the end')
            equal(broker.do('violations'), [0], 'violations')
            broker.do('stall', 600000, *which)
            broker.do('append', 't', 0, 1)
            broker.do('stall', 0)
            equal(next_value(cat), 2, 'a stall is ended')


@test
def a_stall_of_one_node_leaves_the_others(programs):
    with Broker(programs, '-t', 't:2', '-n', 2) as broker, \
            cat_that_runs(programs, broker, '-f', '%p\\n') as cat:
        for partition in (0, 1):
            broker.do('append', 't', partition, 1)
            equal(cat.stdout.readline(), b'%d\n' % partition, 'both')
            wait_for(lambda: broker.state('g', partition=partition)[2] == 1, 'acknowledged')
        broker.do('stall', 600000, 1)
        for partition in (1, 0):
            broker.do('append', 't', partition, 1)
        equal(cat.stdout.readline(), b'0\n', 'the node that runs')
        wait_for(lambda: broker.state('g')[2] == 2, 'acknowledged')
        equal(broker.state('g', partition=1)[2], 1, 'the node that stands still')
        broker.do('clear')
        equal(cat.stdout.readline(), b'1\n', 'the other one')


@test
def answers_are_delayed_and_throttled(programs):
    with Broker(programs, '-t', 't', '-r', 't:1', '-c', 'delay 150') as broker:
        begin = time.monotonic()
        equal(read(programs, broker, 1), [0], 'record')
        check(time.monotonic() - begin >= 0.6, 'at least four answers, one after the other')
    with Broker(programs, '-t', 't', '-r', 't:1', '-c', 'throttle 400') as broker:
        begin = time.monotonic()
        equal(read(programs, broker, 1), [0], 'record')
        check(time.monotonic() - begin >= 0.4, 'the client keeps to it')


@test
def share_groups_can_be_off(programs):
    with Broker(programs, '-t', 't', '-c', 'share off') as broker:
        result = programs.run('kshare_cat', *broker.cat())
        equal(result.code, 2, str(result.err))
        broker.do('share', 'on')
        broker.do('append', 't', 0, 1)
        equal(read(programs, broker, 1), [0], 'on again')


@test
def older_releases_have_no_renewals(programs):
    for version, renewed in (('4.1', 0), ('4.2', 5), ('4.3', 5), ('4.4', 5)):
        with Broker(programs, '-k', version, '-t', 't', '-r', 't:5') as broker:
            result = programs.run('kshare_cat', *broker.cat('-c5', '-A', 'renew', '-J'))
            equal((result.json()['renewed'], broker.state('g')), (renewed, [0, 0, 5, 0]), version)


@test
def what_no_client_does_is_counted(programs):
    with Broker(programs) as broker:
        host, port = broker.address.split(':')
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(b'\0\0\0\2\1\1')
            peer.settimeout(TIMEOUT_S)
            equal(peer.recv(1), b'', 'it hangs up')
        lines = broker.ask('violations')
        equal((len(lines), lines[-1]), (2, 'ok 1'), str(lines))


def metadata(broker):
    """The bytes of Metadata 12 for topic t."""
    host, port = broker.address.split(':')
    with socket.create_connection((host, int(port))) as peer:
        body = b'\0\3\0\x0c\0\0\0\1\xff\xff\0\2' + bytes(16) + b'\2t\0\0\0\0'
        peer.sendall(len(body).to_bytes(4, 'big') + body)
        size = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), 'big')
        return peer.recv(size, socket.MSG_WAITALL)


@test
def the_cluster_can_have_another_id(programs):
    with Broker(programs, '-t', 't') as broker:
        check(b'minibroker' in metadata(broker), 'at first')
        broker.do('cluster', 'another')
        check(b'another' in metadata(broker), 'then')


@test
def the_same_seed_gives_the_same_answers(programs):
    def topic_ids(*options):
        with Broker(programs, '-t', 't', *options) as broker:
            answer = metadata(broker)
            at = answer.index(b'\2t') + 2
            return answer[at:at + 16]
    equal(topic_ids(), topic_ids('-s', 1), 'seed 1')
    check(topic_ids() != topic_ids('-s', 2), 'another seed')


@test
def the_example_passes_and_is_what_the_readme_shows(programs):
    example = pathlib.Path(__file__).resolve().parent / 'example.py'
    path = [str(programs.broker.parent), str(programs.folder), os.environ['PATH']]
    done = subprocess.run([sys.executable, str(example)], timeout=TIMEOUT_S, capture_output=True,
                          env={**os.environ, 'PATH': os.pathsep.join(path)})
    equal((done.returncode, done.stdout), (0, b''), done.stderr.decode())
    shown = [block for block in examples.code_blocks('python') if 'kshare_minibroker' in block]
    for block in shown:
        check(block in example.read_text(encoding='utf-8'), 'README.md shows something else')


@test
def it_sleeps_when_nothing_happens(programs):
    with Broker(programs, '-n', 3) as broker:
        before = examples.cpu_ticks(broker.pid)
        time.sleep(1)
        spent = examples.cpu_ticks(broker.pid) - before
        check(spent < 3, f'{spent} % of a CPU')


if __name__ == '__main__':
    sys.exit(examples.main())
