# SPDX-License-Identifier: Apache-2.0
"""The symbols that a program of kshare and libc alone never names."""
import re

FORBIDDEN = re.compile(
    r'(?:__libc_)?(?:malloc|calloc|realloc|free|aligned_alloc|posix_memalign|memalign)$'
    r'|_Zn|_Zd'           # operator new and delete
    r'|__cxa_|_Unwind_'   # exceptions, guards, atexit, pure virtual
    r'|__gxx_|_ZTI|_ZTS|_ZGV')  # typeinfo, its names, guards of statics
# libstdc++'s, unless it is a template of its headers compiled into our object.
LIBSTDCXX = re.compile(r'_ZSt|_ZNSt|_ZNKSt')
# The C start files name the first, weakly; the others are placement new, inline and without heap.
HARMLESS = {'__cxa_finalize', '_ZnwmPv', '_ZnwjPv'}


def among(symbols):
    """Those of the symbols (type, name: as nm gives them) that break the promise, each once."""
    bare = {(kind, name.split('@')[0]) for kind, name in symbols}
    return sorted({name for kind, name in bare if name not in HARMLESS and (
        FORBIDDEN.match(name) or (kind in 'Uw' and LIBSTDCXX.match(name)))})
