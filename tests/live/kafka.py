# SPDX-License-Identifier: Apache-2.0
"""A real Apache Kafka for the live tests: jars through Maven, brokers on loopback, an admin client.

    with Broker() as broker, Admin(broker.bootstrap) as admin:
        admin.create_topic('t', partitions=4)
        admin.produce('t', count=1000)

Nothing here outlives the process that uses it: every JVM ends when its standard input closes.
"""
import atexit
import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from jars import DEFAULT_VERSION, JVM_FLAGS, KafkaError, java

# ---- ports

def _ephemeral_range():
    try:
        low, high = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range').read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32768, 60999


def free_port():
    """A free loopback port outside the ephemeral range.

    Inside it, a client that keeps connecting to a stopped broker can be given that very port as its
    own, and then talks to itself or keeps the broker from starting again.
    """
    low, high = _ephemeral_range()
    choices = [p for p in range(20000, 65000) if not low <= p <= high]
    for port in random.SystemRandom().sample(choices, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue
    raise KafkaError('no free port')


# ---- one node

SMALL = {
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 5,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 3,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 5,
    'auto.create.topics.enable': 'false',
    'num.network.threads': 2,
    'num.io.threads': 4,
    'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
    'log.cleaner.backoff.ms': 500,  # compaction and retention soon after they are due
    'log.initial.task.delay.ms': 500,
    'log.retention.check.interval.ms': 1000,
    'broker.heartbeat.interval.ms': 500,
    'broker.session.timeout.ms': 4000,  # a killed broker may register again only after it
    'controller.quorum.election.timeout.ms': 200,
}

# Lets a test set short locks and sessions for its group.
SHORT_TIMES = {
    'group.share.min.record.lock.duration.ms': 1000,
    'group.share.min.heartbeat.interval.ms': 500,
    'group.share.min.session.timeout.ms': 5000,
}


class Broker:
    """One KRaft node, broker and controller in one, listening on 127.0.0.1.

    properties: server properties to add or to override. features: {'share.version': 0} and the
    like, given to the formatting of the storage. joins: another node whose controller this one,
    then a broker alone, belongs to. heap: of its JVM. doors: {name: address}, further listeners
    that clients know by the address of somebody in between; becomes {name: its own port}.
    """

    def __init__(self, version=DEFAULT_VERSION, properties=None, features=None, name='broker',
                 node_id=1, joins=None, heap='512m', doors=None):
        self.version = version
        self.name = name
        self.node_id = node_id
        self.port = free_port()
        self.controller = joins.controller if joins else f'127.0.0.1:{free_port()}'
        self.bootstrap = f'127.0.0.1:{self.port}'
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='kshare-kafka-'))
        self.log = self.folder / 'server.log'
        self._features = features
        self._heap = heap
        self._process = None
        self.doors = {name: free_port() for name in doors or {}}
        atexit.register(self.close)
        self._write_config(properties or {}, doors or {}, alone=joins is None)

    def _write_config(self, properties, doors, alone):
        listeners = [f'PLAINTEXT://{self.bootstrap}']
        advertised = listeners + [f'{name}://{address}' for name, address in doors.items()]
        listeners += [f'{name}://127.0.0.1:{port}' for name, port in self.doors.items()]
        if alone:
            listeners.append(f'CONTROLLER://{self.controller}')
        config = {
            'process.roles': 'broker,controller' if alone else 'broker',
            'node.id': self.node_id,
            'listeners': ','.join(listeners),
            'advertised.listeners': ','.join(advertised),
            'listener.security.protocol.map': ','.join(
                f'{name}:PLAINTEXT' for name in ['PLAINTEXT', 'CONTROLLER', *doors]),
            'controller.listener.names': 'CONTROLLER',
            'controller.quorum.bootstrap.servers': self.controller,
            'log.dirs': str(self.folder / 'data'),
            **SMALL, **SHORT_TIMES, **properties,
        }
        self.config = self.folder / 'server.properties'
        self.config.write_text(''.join(f'{k}={v}\n' for k, v in config.items()))
        self._format = ['--standalone' if alone else '--no-initial-controllers',
                        '--cluster-id', 'kshareLiveTests0000001']
        features = self._features
        if features is None and self.version.startswith('4.1.'):
            features = {'share.version': 1}  # a preview there: off unless asked for
        for feature, level in (features or {}).items() if alone else ():
            self._format += ['--feature', f'{feature}={level}']

    def move(self, port):
        """Another port, from its next start on."""
        old, self.port = self.bootstrap, port
        self.bootstrap = f'127.0.0.1:{self.port}'
        self.config.write_text(self.config.read_text().replace(old, self.bootstrap))

    def launch(self):
        """Starts the JVM without waiting for it."""
        with open(self.log, 'ab') as log:
            self._process = java('Node.java', [str(self.config), *self._format], self.version,
                                 [f'-Xmx{self._heap}', *JVM_FLAGS], stdin=subprocess.PIPE,
                                 stdout=log, stderr=log)
        return self

    def start(self, timeout_s=90):
        """Starts the node, or starts it again on the same port with the same data."""
        if self._process is None:
            self.launch()
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise KafkaError(f'{self.name} {self.version} did not start:\n{self.log_tail()}')
            time.sleep(0.05)
        return self

    def _answers(self):
        """Whether an ApiVersions request is answered: the sign that requests are processed."""
        request = struct.pack('>hhih', 18, 0, 1, -1)
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=1) as s:
                s.sendall(struct.pack('>i', len(request)) + request)
                return len(s.recv(4)) == 4
        except OSError:
            return False

    def log_tail(self, size=4000):
        try:
            return self.log.read_bytes()[-size:].decode(errors='replace')
        except OSError:
            return '(no log)'

    def stop(self, timeout_s=20):
        """Shuts the node down in order; kills it if that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process = None

    def pause(self):
        """Freezes the node: connections stay open, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def revive(self):
        """Running and answering, whether it was killed, frozen or neither."""
        if self._process:
            self.resume()
        return self.start()

    def cpu_seconds(self):
        fields = pathlib.Path(f'/proc/{self._process.pid}/stat').read_text().rsplit(')', 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

    def batches(self, topic, partition=0):
        """(base offset, records, bytes, codec) of every batch, read from the log segments."""
        found = []
        for segment in sorted((self.folder / 'data' / f'{topic}-{partition}').glob('*.log')):
            data = segment.read_bytes()
            at = 0
            while at + 61 <= len(data):
                base, length = struct.unpack_from('>qi', data, at)
                attributes, = struct.unpack_from('>h', data, at + 21)
                count, = struct.unpack_from('>i', data, at + 57)
                if length <= 0:
                    break
                found.append((base, count, 12 + length, attributes & 7))
                at += 12 + length
        return found

    def close(self):
        self.kill()
        if os.environ.get('KSHARE_KEEP'):
            print(f'{self.name}: kept {self.folder}', flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()


class Cluster:
    """Several nodes; the first one is the controller too, so leave that one alive."""

    def __init__(self, size=3, version=DEFAULT_VERSION):
        replicated = {'offsets.topic.replication.factor': size,
                      'share.coordinator.state.topic.replication.factor': size}
        self.nodes = []
        for i in range(1, size + 1):
            self.nodes.append(Broker(version, replicated, name=f'node {i}', node_id=i, heap='384m',
                                     joins=self.nodes[0] if self.nodes else None))

    @property
    def bootstrap(self):
        return ','.join(node.bootstrap for node in self.nodes)

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.start()
        return self

    def close(self):
        for node in self.nodes:
            node.close()


# ---- admin and producer

class Admin:
    """Kafka's own admin client and producer, in one JVM that is driven over a pipe.

    Every method waits for its result; submit() returns a future instead, so that several commands
    can run side by side.
    """

    def __init__(self, bootstrap):
        self._process = java('Tool.java', [bootstrap], flags=['-Xmx256m', *JVM_FLAGS],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self._ids = itertools.count(1)
        self._waiting = {}
        self._lock = threading.Lock()
        self._errors = collections.deque(maxlen=20)
        threading.Thread(target=self._read_answers, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read_answers(self):
        for line in self._process.stdout:
            reply = json.loads(line)
            with self._lock:
                future = self._waiting.pop(reply['id'])
            if reply['ok']:
                future.set_result(reply.get('result'))
            else:
                future.set_exception(KafkaError(reply['error']))
        with self._lock:
            lost, self._waiting = self._waiting, {}
        for future in lost.values():
            future.set_exception(KafkaError('the admin JVM ended: ' + ''.join(self._errors)))

    def _read_errors(self):
        for line in self._process.stderr:
            self._errors.append(line)

    def submit(self, command, **arguments):
        future = concurrent.futures.Future()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = future
            self._process.stdin.write(json.dumps({'id': number, 'do': command, **arguments}) + '\n')
            self._process.stdin.flush()
        return future

    def call(self, command, timeout_s=90, **arguments):
        try:
            return self.submit(command, **arguments).result(timeout_s)
        except concurrent.futures.TimeoutError:
            raise KafkaError(f'no answer to {command} within {timeout_s} s') from None

    def create_topic(self, topic, partitions=1, replicas=1, configs=None):
        self.call('create_topic', topic=topic, partitions=partitions, replicas=replicas,
                  configs=configs or {})

    def delete_topic(self, topic):
        self.call('delete_topic', topic=topic)

    def add_partitions(self, topic, partitions):
        self.call('add_partitions', topic=topic, partitions=partitions)

    def group_config(self, group, configs):
        """Sets group configs, for example {'share.auto.offset.reset': 'earliest'}."""
        self.call('group_config', group=group, configs=configs)

    def produce(self, topic, **what):
        """count, first, size, size_to, partition, key, keys; or records=[{key, value, ...}, ...].

        And batch_size, linger_ms, compression, transaction, bootstrap. See Producers.java.
        """
        return self.call('produce', topic=topic, **what)

    def start_flow(self, topic, every_ms=20, losses=False):
        """One record for each partition, again and again; the future ends with stop_flow().

        It fails if a record could not be sent, unless losses are allowed.
        """
        return self.submit('flow', topic=topic, every_ms=every_ms, losses=losses)

    def stop_flow(self, topic):
        self.call('stop_flow', topic=topic)

    def transaction(self, producer, step, topic=None, **what):
        """begin, send, commit, abort or close of a producer by name; send returns the offsets."""
        return self.call('transaction', producer=producer, step=step, topic=topic, **what)

    def read(self, topic, partition=0, isolation='read_uncommitted'):
        """The offsets that Kafka's plain consumer reads from a partition."""
        return self.call('read', topic=topic, partition=partition, isolation=isolation)

    def end_offsets(self, topic):
        return {int(p): end for p, end in self.call('end_offsets', topic=topic).items()}

    def leaders(self, topic):
        return {int(p): node for p, node in self.call('leaders', topic=topic).items()}

    def move_leader(self, topic, partition, *brokers):
        """Puts the replicas of a partition on these brokers, the first of them the leader."""
        self.call('move_leader', topic=topic, partition=partition, brokers=brokers)

    def delete_records(self, topic, before, partition=0):
        return self.call('delete_records', topic=topic, partition=partition, before=before)

    def describe_group(self, group):
        """{state, epoch, members: [{id, client_id, host, epoch, rack, assignment}]}.

        The state of a group that does not exist is "None".
        """
        return self.call('describe_group', group=group)

    def group_offsets(self, group, topic):
        """{partition: {start, lag}} of the share group; lag is -1 where the broker gives none."""
        offsets = self.call('group_offsets', group=group, topic=topic)
        return {int(p): v for p, v in offsets.items()}

    def grant(self, user, operation, **what):
        """Allows it on topic=NAME or group=NAME; revoke() takes it back."""
        self._acl('grant', user, operation, what)

    def revoke(self, user, operation, **what):
        self._acl('revoke', user, operation, what)

    def _acl(self, command, user, operation, what):
        for kind, name in what.items():
            self.call(command, user=user, operation=operation, type=kind, name=name)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
