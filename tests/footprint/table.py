# SPDX-License-Identifier: Apache-2.0
"""The tables of README.md between two markers: written, or compared with what was measured."""
import re

BEGIN, END = '<!-- footprint -->\n', '<!-- /footprint -->'
REGENERATE = 'python3 tests/footprint/run.py --write'
OFF_MAX = 0.03
OFF_BYTES_MIN = 32  # less is noise of the compiler's inlining, whatever share of a small figure


class Table:
    """Rows of cells; a cell is a list of numbers, or None where nothing was measured."""

    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, columns, {}

    def put(self, row, column, *numbers):
        self.rows.setdefault(row, dict.fromkeys(self.columns))[column] = list(numbers)

    def lines(self):
        yield f'| {self.title} | ' + ' | '.join(self.columns) + ' |'
        yield '|---|' + '---:|' * len(self.columns)
        for row, cells in self.rows.items():
            yield f'| {row} | ' + ' | '.join(shown(cells[name]) for name in self.columns) + ' |'

    def cells(self):
        return {(row, name): cells[name] for row, cells in self.rows.items()
                for name in self.columns if cells[name] is not None}

    def is_whole(self):
        return all(cell is not None for cells in self.rows.values() for cell in cells.values())


def shown(numbers):
    return '' if numbers is None else ' / '.join(f'{number:,}' for number in numbers)


def written(text):
    """(the first cell of each table, the cells by row and column) between the markers."""
    inside = text.partition(BEGIN)[2].partition(END)[0]
    titles, cells, columns = [], {}, []
    for block in inside.strip().split('\n\n'):
        lines = [[cell.strip() for cell in line.strip('| ').split(' | ')]
                 for line in block.splitlines() if line.startswith('|')]
        if len(lines) < 3:
            continue
        title, *columns = lines[0]
        titles.append(title)
        for row, *numbers in lines[2:]:
            for name, cell in zip(columns, numbers):
                cells[row, name] = [int(number.replace(',', '')) for number in
                                    re.findall(r'-?\d[\d,]*', cell)]
    return titles, cells


def is_off(now, then):
    return abs(now - then) > max(OFF_MAX * max(abs(now), abs(then)), OFF_BYTES_MIN)


def differences(tables, text, partly):
    """What README.md has to be told; `partly`: a row that was not measured may stand there."""
    _, then = written(text)
    now = {place: cell for table in tables for place, cell in table.cells().items()}
    problems = []
    for (row, column), cell in now.items():
        old = then.get((row, column))
        if old is None:
            problems.append(f'{row}, {column}: {shown(cell)}, not in the table')
        elif len(old) != len(cell) or any(map(is_off, cell, old)):
            problems.append(f'{row}, {column}: {shown(cell)}, the table has {shown(old)}')
    if not partly:
        problems += [f'{row}, {column}: in the table, but not measured'
                     for row, column in then if (row, column) not in now]
    return problems + [f'if that is meant: {REGENERATE}'] if problems else []


def write(path, tables):
    text = path.read_text(encoding='utf-8')
    before, begin, rest = text.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        return [f'no {BEGIN.strip()} ... {END} in {path.name}']
    body = '\n\n'.join('\n'.join(table.lines()) for table in tables)
    path.write_text(before + begin + body + '\n' + end + behind, encoding='utf-8')
    return []
