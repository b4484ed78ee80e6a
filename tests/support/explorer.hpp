// SPDX-License-Identifier: Apache-2.0
// What:        what machines that try every order of events have in common: the path taken, and
//              what went wrong on it.
// Flow:        a test's machine derives from it.
// Memory:      the tests' own.
// Valid until: plain values.
// Errors:      fault() reports through doctest, three times at most.
#ifndef KSHARE_TESTS_EXPLORER_HPP
#define KSHARE_TESTS_EXPLORER_HPP

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

struct Explorer {
  uint64_t steps = 0;
  uint64_t faults = 0;
  std::vector<int> path;  // the events so far

  // Each of so many events, one after the other, from the state of now: `happens` answers whether
  // it can, `go_on` looks at what follows from it, `back` undoes all that.
  template <typename Happens, typename GoOn, typename Back>
  void try_each(int events, const Happens& happens, const GoOn& go_on, const Back& back) {
    for (int event = 0; event < events; ++event) {
      path.push_back(event);
      if (happens(event)) {
        ++steps;
        go_on(event);
      }
      back();
      path.pop_back();
    }
  }

  void fault(const char* what) {
    if (++faults > 3) return;
    std::string text;
    for (int event : path) text += " " + std::to_string(event);
    FAIL_CHECK(std::string(what) << " after" << text);
  }
};

#endif  // KSHARE_TESTS_EXPLORER_HPP
