# SPDX-License-Identifier: Apache-2.0
"""What callgrind has counted, by what the instructions were for."""
import collections
import os
import re
import subprocess

# The first that matches "FILE FUNCTION" of a line; FILE is where an inlined line was written.
PURPOSES = (
    ('CRC', r'crc32c'),
    ('copying', r'/mem\w+-\S+\.S |\?\?\? .*mem(cpy|move|set)'),
    ('splitting', r'record/(splitter|walker|batch)\.hpp|wire/reader\.hpp'),
    ('handing out', r'core/handout\.hpp|record/\S+ \S*(Handout|peek|main)'),
    ('splitting', r'record/'),
    ('acknowledging', r'ack/|core/(custody|tables)\.hpp'),
    ('requests, answers', r'message/|wire/|core/(session|intake|link|demand|topology)\.hpp'),
    ('polling', r'consumer\.hpp|core/'),
    ('the program', r''),
)


# glibc copies long runs by one instruction that callgrind counts once for every octet.
PLAIN_COPIES = {'GLIBC_TUNABLES': 'glibc.cpu.x86_rep_movsb_threshold=100000000'}


def count(program, arguments, out):
    """Runs a program under callgrind; what it printed, and Counter{(file, line, function): n}."""
    done = subprocess.run(
        ['valgrind', '--tool=callgrind', '--collect-atstart=no', '--compress-pos=no',
         '--compress-strings=no', f'--callgrind-out-file={out}', str(program), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **PLAIN_COPIES})
    if done.returncode:
        raise RuntimeError(f'{program} under valgrind: exit {done.returncode}\n'
                           f'{done.stderr[-800:]}')
    return done.stdout, read(out)


def read(path):
    """The costs of the lines themselves, without what they call."""
    costs = collections.Counter()
    home = file = function = ''
    skip = False
    with open(path, encoding='utf-8', errors='replace') as lines:
        for line in lines:
            key, _, value = line.rstrip('\n').partition('=')
            if key == 'fl':
                home = file = value
            elif key in ('fi', 'fe'):
                file = value
            elif key == 'fn':
                function, file = value, home
            elif key == 'calls':
                skip = True  # the line behind it is the callee's cost
            elif line[:1].isdigit():
                number, cost = line.split()[:2]
                if not skip:
                    # A span's own lines are for whoever uses the span.
                    where = home if '/base/' in file else file
                    costs[where, int(number), function] += int(cost)
                skip = False
    return costs


def by_purpose(costs):
    rows = collections.Counter({name: 0 for name, _ in PURPOSES})
    for (file, _, function), cost in costs.items():
        rows[next(n for n, p in PURPOSES if re.search(p, f'{file} {function}'))] += cost
    return rows


def top_lines(costs, root, number):
    """The most expensive lines of our own: (cost, 'file:line')."""
    lines = collections.Counter()
    for (file, line, _), cost in costs.items():
        if file.startswith(str(root)):
            lines[f'{file[len(str(root)) + 1:]}:{line}'] += cost
    return [(cost, place) for place, cost in lines.most_common(number)]
