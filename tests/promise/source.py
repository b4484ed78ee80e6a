# SPDX-License-Identifier: Apache-2.0
"""A reader of C++ headers, good enough for counting: no comments, no texts, functions, statics."""
import collections
import re

Function = collections.namedtuple('Function', 'name first last comment body')
Variable = collections.namedtuple('Variable', 'line scope text')

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/'
    r'|R"(?P<delimiter>[^(\s]*)\(.*?\)(?P=delimiter)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'", re.DOTALL)
PREPROCESSOR = re.compile(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.MULTILINE)


def blank(text):
    return re.sub(r'[^\n]', ' ', text)


def without_comments(text):
    """Comments become spaces, so lines and columns stay where they are."""
    return TOKEN.sub(lambda m: blank(m[0]) if m[0].startswith('/') else m[0], text)


def code_only(text):
    """Without comments and without the contents of texts."""
    return TOKEN.sub(lambda m: blank(m[0]) if m[0].startswith('/') else
                     m[0][0] + blank(m[0][1:-1]) + m[0][-1], text)


def closing(code, at):
    """The position of the brace that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == '{') - (code[i] == '}')
        if depth == 0:
            return i
    return len(code) - 1


def kind(head):
    """What the brace behind `head` opens."""
    head = re.sub(r'^\s*template\s*<.*?>\s*(?=[a-z])', '', head, flags=re.DOTALL).strip()
    if re.match(r'(inline\s+)?namespace\b|extern\s+"', head):
        return 'namespace'
    if re.match(r'enum\b', head):
        return 'value'
    if re.match(r'(class|struct|union)\b[^=()]*(alignas\(.*?\)|\[\[.*?\]\])?[^=()]*$', head):
        return 'class'
    if re.search(r'\)[^()]*:[^:].*[\w>]$', head, flags=re.DOTALL):
        return 'value'  # member{...} in a constructor's list
    before = re.sub(r'operator\W+$', '', head.split('(')[0])
    if '(' in head and '=' not in before:
        return 'function'
    return 'value'


class Scan:
    """functions: every function with its lines; variables: those declared outside functions."""

    def __init__(self, text):
        self.lines = text.splitlines()
        self.code = PREPROCESSOR.sub(lambda m: blank(m[0]), code_only(text))
        self.functions = []
        self.variables = []
        self._walk()

    def line(self, at):
        return self.code.count('\n', 0, at) + 1

    def _walk(self):
        scopes = ['namespace']
        head = 0        # where the declaration we are in begins
        parentheses = 0
        i = 0
        while i < len(self.code):
            c = self.code[i]
            if c in '()':
                parentheses += 1 if c == '(' else -1
            elif c == '{' and parentheses:
                i = closing(self.code, i)
            elif c == '{':
                what = kind(self.code[head:i])
                if what in ('namespace', 'class'):
                    scopes.append(what)
                    head = i + 1
                else:
                    end = closing(self.code, i)
                    if what == 'function':
                        self._function(head, i, end)
                        head = end + 1
                    i = end
            elif c == '}' and not parentheses:
                scopes.pop()
                head = i + 1
            elif c == ';' and not parentheses:
                self._declaration(head, i, scopes[-1] if scopes else 'namespace')
                head = i + 1
            elif c == ':' and self.code[head:i].strip() in ('public', 'private', 'protected'):
                head = i + 1
            i += 1

    def _function(self, head, open_brace, end):
        text = self.code[head:open_brace]
        first = self.line(head + len(text) - len(text.lstrip()))
        above = first - 1
        while above > 0 and self.lines[above - 1].lstrip().startswith('//'):
            above -= 1
        names = re.findall(r'(operator\s*\S+?|~?\w+)\s*\(', text)
        self.functions.append(Function(
            next((n for n in names if n not in ('alignas', 'decltype', 'noexcept')), '?'), first,
            self.line(end), '\n'.join(self.lines[above:first - 1]),
            (open_brace, self.code[open_brace:end])))

    def _declaration(self, head, end, scope):
        text = self.code[head:end].strip()
        if text:
            at = head + len(self.code[head:end]) - len(self.code[head:end].lstrip())
            self.variables.append(Variable(self.line(at), scope, ' '.join(text.split())))
