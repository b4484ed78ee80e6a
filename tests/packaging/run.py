#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kshare in other people's projects: installed, copied, as a subproject, as README.md says; each
consumer built so takes a record from the mini broker.

    run.py --programs DIR [--broker PATH] [--only PATTERN]

As tests/examples/run.py, which has the means for this.
"""
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import venv

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'examples'))
import run as examples  # noqa: E402
from run import ROOT, Broker, Skip, check, equal, test  # noqa: E402

examples.TESTS.clear()
examples.__doc__ = __doc__

CONSUMER = ROOT / 'tests/packaging/consumer'
TIMEOUT_S = 120
SHIPPED = ['include', 'cmake', 'examples', 'tests/CMakeLists.txt', 'CMakeLists.txt', 'meson.build',
           'README.md', 'LICENSE']
OLDEST = {'cmake': 'cmake==3.21.*', 'meson': 'meson==0.63.*'}


def run(*words, where=None, path=None, env=None, fails=False):
    """What a command prints; it must succeed, or fail."""
    environment = {**os.environ, **(env or {})}
    if path:
        environment['PATH'] = f'{path}{os.pathsep}{environment["PATH"]}'
    done = subprocess.run([str(word) for word in words], cwd=where, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
                          encoding='utf-8', errors='replace')
    check((done.returncode != 0) == fails,
          f'{" ".join(map(str, words))}: exit code {done.returncode}\n{done.stdout[-3000:]}')
    return done.stdout


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f'no {program}')


def version():
    text = (ROOT / 'include/kshare/version.hpp').read_text(encoding='utf-8')
    return re.search(r'KSHARE_VERSION "(.*)"', text)[1]


# ---- Trees, made once for all tests

def copy_tree(to):
    """kshare as somebody would have copied it."""
    for name in SHIPPED:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name)
        else:
            shutil.copy(ROOT / name, to / name)
    return to


@functools.lru_cache(None)
def work():
    """A directory for everything, gone at the end. Its name has a space, as some people's have."""
    return pathlib.Path(temporary.name) / 'all of it'


temporary = tempfile.TemporaryDirectory()


@functools.lru_cache(None)
def repository():
    """A git repository with one commit, on main."""
    tree = copy_tree(pathlib.Path(temporary.name) / 'repository')  # git's URLs want no space
    git = ['git', '-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'commit.gpgsign=false']
    run('git', 'init', '-q', '-b', 'main', where=tree)
    run('git', 'add', '.', where=tree)
    run(*git, 'commit', '-q', '-m', 'kshare', where=tree)
    return tree


@functools.lru_cache(None)
def installed(tool):
    """Where `tool` (cmake or meson) has installed kshare; moved afterwards, as packages are."""
    build, prefix, moved = (work() / f'{tool} {what}' for what in ('build', 'prefix', 'installed'))
    if tool == 'cmake':
        run('cmake', '-S', ROOT, '-B', build, '-DKSHARE_TESTS=OFF', '-DKSHARE_EXAMPLES=OFF')
        run('cmake', '--build', build)
        run('cmake', '--install', build, '--prefix', prefix)
    else:
        run('meson', 'setup', build, ROOT, '--prefix', prefix)
        run('meson', 'install', '-C', build)
    prefix.rename(moved)
    return moved


def project(name, kshare_at=None):
    """The consumer, with kshare copied to KSHARE_AT if that is given."""
    tree = work() / name
    shutil.copytree(CONSUMER, tree)
    shutil.copy(ROOT / 'examples/plain.cpp', tree / 'main.cpp')
    if kshare_at:
        copy_tree(tree / kshare_at)
    return tree


def build_cmake(name, *settings, kshare_at=None, path=None):
    tree = project(name, kshare_at)
    run('cmake', '-S', tree, '-B', tree / 'build', *settings, path=path)
    run('cmake', '--build', tree / 'build', path=path)
    return tree / 'build'


def build_meson(name, *settings, kshare_at=None, path=None, env=None):
    tree = project(name, kshare_at)
    run('meson', 'setup', *settings, tree / 'build', tree, path=path, env=env)
    run('meson', 'compile', '-C', tree / 'build', path=path)
    return tree / 'build'


def consumes(programs, *command, where=None, env=None):
    """A program that is told a broker prints the record that is there, and accepts it."""
    with Broker(programs) as broker:
        broker.topic('commands')
        broker.do('append', 'commands', 0, 1, 20)
        process = subprocess.Popen([str(word).replace('ADDRESS', broker.address)
                                    for word in command], stdout=subprocess.PIPE, cwd=where,
                                   env={**os.environ, **(env or {}), 'BROKER': broker.address},
                                   start_new_session=True)
        watch = threading.Timer(TIMEOUT_S, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        try:
            lines = iter(process.stdout.readline, b'')  # what builds it may speak first
            check(any(re.match(rb'0 x', line) for line in lines), 'the record was not printed')
            examples.wait_for(lambda: broker.state('gateways', 'commands')[2] == 1, 'accepted')
        finally:
            watch.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


# ---- CMake

@test
def cmake_find_package(programs):
    need('cmake')
    prefix = f'-DCMAKE_PREFIX_PATH={installed("cmake")}'
    build = build_cmake('find package', '-DWAY=find_package', '-DWANTED=0.1', prefix)
    consumes(programs, build / 'consumer', 'ADDRESS')
    said = run('cmake', '-S', project('too new'), '-B', work() / 'too new/build',
               '-DWAY=find_package', '-DWANTED=9.0', prefix, fails=True)
    check('requested version "9.0"' in ' '.join(said.split()), said)


@test
def cmake_find_package_for_another_architecture(_programs):
    need('cmake', 'arm-linux-gnueabihf-g++')
    build = build_cmake('find package armhf', '-DWAY=find_package', '-DWANTED=0.1',
                        f'-DCMAKE_PREFIX_PATH={installed("cmake")}',
                        f'-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/toolchains/armhf.cmake')
    check('ARM' in run('readelf', '-h', build / 'consumer'), 'not a program for ARM')


@test
def cmake_add_subdirectory(programs):
    need('cmake')
    build = build_cmake('add subdirectory', '-DWAY=add_subdirectory', '-DCMAKE_CXX_STANDARD=20',
                        kshare_at='kshare')
    consumes(programs, build / 'consumer', 'ADDRESS')
    run('cmake', '--install', build, '--prefix', build / 'prefix')
    equal([path.name for path in (build / 'prefix').rglob('*') if path.is_file()], ['consumer'],
          'what is installed')
    check('No tests were found' in run('ctest', '--test-dir', build), 'kshare brings tests')


@test
def cmake_installs_what_a_user_looks_for(_programs):
    need('cmake')
    prefix = installed('cmake')
    for name in ('include/kshare/kshare.hpp', 'include/kshare.hpp', 'share/pkgconfig/kshare.pc',
                 'share/cmake/kshare/kshareConfig.cmake'):
        check((prefix / name).is_file(), f'no {name}')
    wanted = {path.relative_to(ROOT / 'include') for path in ROOT.glob('include/**/*.hpp')}
    found = {path.relative_to(prefix / 'include') for path in prefix.glob('include/kshare/**/*')
             if path.is_file()}
    equal(found, wanted, 'installed headers')


# ---- meson

@test
def meson_subproject(programs):
    need('meson')
    build = build_meson('meson subproject', '--prefix', work() / 'of subproject',
                        '-Dcpp_std=c++20', kshare_at='subprojects/kshare')
    consumes(programs, build / 'consumer', 'ADDRESS')
    run('meson', 'install', '-C', build)
    found = [path.name for path in (work() / 'of subproject').rglob('*') if path.is_file()]
    equal(found, ['consumer'], 'what is installed')
    told = json.loads(run('meson', 'introspect', '--tests', build))
    equal(told, [], "kshare's tests")


@test
def meson_installed(programs):
    need('meson', 'pkg-config')
    for tool in ('meson', 'cmake'):
        env = {'PKG_CONFIG_PATH': str(installed(tool) / 'share/pkgconfig')}
        if tool == 'meson':  # its file names the prefix that it was installed to
            env['PKG_CONFIG_PATH'] = f'{work() / "meson again/share/pkgconfig"}'
            run('meson', 'setup', work() / 'meson again build', ROOT, '--prefix',
                work() / 'meson again')
            run('meson', 'install', '-C', work() / 'meson again build')
        build = build_meson(f'meson installed by {tool}', '--wrap-mode=nofallback', env=env)
        consumes(programs, build / 'consumer', 'ADDRESS')


# ---- pkg-config

@test
def pkg_config(programs):
    need('pkg-config', 'cmake')
    env = {'PKG_CONFIG_PATH': str(installed('cmake') / 'share/pkgconfig')}
    tree = project('pkg-config')
    run('sh', '-c', 'eval g++ -std=c++17 $(pkg-config --cflags kshare) main.cpp second.cpp'
        ' -o consumer', where=tree, env=env)
    consumes(programs, tree / 'consumer', 'ADDRESS')


# ---- Versions

@test
def every_way_tells_the_same_version(_programs):
    need('cmake', 'meson', 'pkg-config')
    wanted = version()
    for tool in ('cmake', 'meson'):
        env = {'PKG_CONFIG_PATH': str(installed(tool) / 'share/pkgconfig')}
        equal(run('pkg-config', '--modversion', 'kshare', env=env).strip(), wanted, f'{tool}: .pc')
        header = (installed(tool) / 'include/kshare.hpp').read_text(encoding='utf-8')
        check(f'// kshare {wanted} as a single header' in header, f'{tool}: kshare.hpp')
    config = installed('cmake') / 'share/cmake/kshare/kshareConfigVersion.cmake'
    check(f'set(PACKAGE_VERSION "{wanted}")' in config.read_text(encoding='utf-8'), 'CMake')
    for name in ('CMakeLists.txt', 'meson.build'):
        text = (ROOT / name).read_text(encoding='utf-8')
        check(wanted not in text.replace(f'>= {wanted}', ''), f'{name} has a version of its own')


# ---- The oldest tools that kshare says it works with

@functools.lru_cache(None)
def oldest():
    """A directory with the oldest CMake and meson, from PyPI."""
    place = work() / 'oldest'
    try:
        venv.create(place, with_pip=True)
        run(place / 'bin/python', '-m', 'pip', 'install', '-q', 'setuptools<80', *OLDEST.values())
    except (examples.Failure, subprocess.SubprocessError, OSError) as why:
        raise Skip(f'cannot install {", ".join(OLDEST.values())}: {why}') from why
    return place / 'bin'


@test
def the_oldest_cmake(programs):
    path = oldest()
    check('3.21.' in run('cmake', '--version', path=path), 'not CMake 3.21')
    build, prefix = work() / 'old cmake build', work() / 'old cmake prefix'
    run('cmake', '-S', ROOT, '-B', build, '-DKSHARE_TESTS=OFF', '-DKSHARE_EXAMPLES=OFF', path=path)
    run('cmake', '--build', build, path=path)
    run('cmake', '--install', build, '--prefix', prefix, path=path)
    build = build_cmake('old find package', '-DWAY=find_package', '-DWANTED=0.1',
                        f'-DCMAKE_PREFIX_PATH={prefix}', path=path)
    consumes(programs, build / 'consumer', 'ADDRESS')


@test
def the_oldest_meson(programs):
    path = oldest()
    check(run('meson', '--version', path=path).startswith('0.63.'), 'not meson 0.63')
    build = build_meson('old meson', kshare_at='subprojects/kshare', path=path)
    consumes(programs, build / 'consumer', 'ADDRESS')
    run('meson', 'setup', work() / 'old meson build', ROOT, '--prefix', work() / 'old meson prefix',
        path=path)
    run('meson', 'install', '-C', work() / 'old meson build', path=path)
    check((work() / 'old meson prefix/include/kshare.hpp').is_file(), 'no kshare.hpp')


# ---- README.md: from an empty directory to a running consumer

def paths_of_readme():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    section = re.search(r'^## Install\n(.*?)^## ', text, re.MULTILINE | re.DOTALL)[1]
    return [block for block in re.findall(r'```sh\n(.*?)```', section, re.DOTALL)
            if '$KSHARE' in block]


def follow(programs, mark):
    found = [block for block in paths_of_readme() if mark in block]
    equal(len(found), 1, f'blocks of README.md with {mark}')
    empty = work() / f'follow {mark}'
    empty.mkdir(parents=True)
    consumes(programs, 'bash', '-e', '-c', found[0], where=empty,
             env={'KSHARE': str(repository())})


@test
def readme_single_header(programs):
    follow(programs, 'amalgamate.py')


@test
def readme_meson_wrap(programs):
    need('meson', 'git')
    follow(programs, 'subprojects/kshare.wrap')


@test
def readme_fetch_content(programs):
    need('cmake', 'git')
    follow(programs, 'FetchContent')


@test
def readme_has_no_other_path(_programs):
    equal(len(paths_of_readme()), 3, 'ways in README.md')


if __name__ == '__main__':
    work().mkdir()
    sys.exit(examples.main())
