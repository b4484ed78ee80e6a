# SPDX-License-Identifier: Apache-2.0
"""Kafka's jars through Maven, and programs in Java that run on them; both cached."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# The releases to be tested on, and the one that has all the tests.
DEFAULT_VERSION = '4.3.1'
VERSIONS = ('4.1.1', '4.2.1', '4.3.1', '4.4.0')
# A part of a release that its repository does not have, and the release to take it from.
TOOLS_FROM = {'4.4.0': '4.3.1'}

# Short-lived JVMs on a small machine: start fast, keep to few threads.
JVM_FLAGS = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']
LOG_FLAGS = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
             '-Dorg.slf4j.simpleLogger.showDateTime=true',
             '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS']


class Missing(Exception):
    """Something that the live tests need is not on this machine."""


class KafkaError(Exception):
    """A broker did not start, or a command was refused."""


# ---- jars and classes, cached by what they are made of

def cache_dir():
    base = os.environ.get('KSHARE_CACHE') or os.path.expanduser('~/.cache/kshare')
    path = pathlib.Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _cached(name, fill):
    """The cache folder `name`; on first use made by fill(path) in a temporary one, then renamed."""
    target = cache_dir() / name
    if target.is_dir():
        return target
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=name + '.', dir=cache_dir()))
    try:
        fill(temporary)
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # unless another run was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _run_quietly(command, what, timeout_s, error=KafkaError):
    if not shutil.which(command[0]):
        raise Missing(f'{command[0]} is not installed ({what} needs it)')
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=timeout_s)
    if done.returncode != 0:
        tail = done.stdout.decode(errors='replace')[-2000:]
        raise error(f'{what} failed (exit {done.returncode}):\n{tail}')


def jars(version=DEFAULT_VERSION):
    """The folder with the jars of this Kafka release, resolved through Maven once."""
    pom = HERE / 'pom.xml'
    key = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]

    def fill(path):
        _run_quietly(['mvn', '-q', '-B', '-f', str(pom), f'-Dkafka.version={version}',
                      f'-Dtools.version={TOOLS_FROM.get(version, version)}',
                      'dependency:copy-dependencies', f'-DoutputDirectory={path}',
                      '-DincludeScope=runtime'],
                     f'fetching Apache Kafka {version} through Maven', 900, Missing)
    return _cached(f'kafka-{version}-{key}', fill)


def classpath(source, version=DEFAULT_VERSION):
    """A class path with `source` (a Java file beside this one) compiled against a release.

    With it, what it names of the other Java files here.
    """
    library = jars(version)
    text = b''.join(path.read_bytes() for path in sorted(HERE.glob('*.java')))
    key = hashlib.sha256(text + library.name.encode()).hexdigest()[:12]

    def fill(path):
        _run_quietly(['javac', '-nowarn', '-cp', f'{library}/*', '-sourcepath', str(HERE),
                      '-d', str(path), str(HERE / source)], f'compiling {source}', 120)
    classes = _cached(f'{pathlib.Path(source).stem}-{key}', fill)
    return f'{classes}:{library}/*'


def java(source, arguments, version=DEFAULT_VERSION, flags=(), **options):
    """Starts the main class of `source`; `options` are those of subprocess.Popen."""
    if not shutil.which('java'):
        raise Missing('java is not installed')
    command = ['java', *flags, *LOG_FLAGS, '-cp', classpath(source, version),
               pathlib.Path(source).stem, *arguments]
    return subprocess.Popen(command, **options)
