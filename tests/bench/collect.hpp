// SPDX-License-Identifier: Apache-2.0
// What:        what of a program callgrind counts (run with --collect-atstart=no): everything while
//              a Collect lives, but for what an Aside covers.
// Flow:        floor.cpp, path.cpp -> valgrind; without valgrind's headers nothing at all.
// Memory:      one flag.
// Errors:      none.
#ifndef KSHARE_BENCH_COLLECT_HPP
#define KSHARE_BENCH_COLLECT_HPP

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#if !defined(CALLGRIND_TOGGLE_COLLECT)
#define CALLGRIND_TOGGLE_COLLECT static_cast<void>(0)
#endif

namespace bench {

inline bool collecting = false;

class Collect {
 public:
  explicit Collect(bool on = true) : on_(on) {
    if (on_) CALLGRIND_TOGGLE_COLLECT;
    collecting = on_;
  }
  Collect(const Collect&) = delete;
  Collect& operator=(const Collect&) = delete;
  ~Collect() {
    if (on_) CALLGRIND_TOGGLE_COLLECT;
    collecting = false;
  }

 private:
  bool on_;
};

class Aside {
 public:
  Aside() {
    if (collecting) CALLGRIND_TOGGLE_COLLECT;
  }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  ~Aside() {
    if (collecting) CALLGRIND_TOGGLE_COLLECT;
  }
};

}  // namespace bench

#endif  // KSHARE_BENCH_COLLECT_HPP
