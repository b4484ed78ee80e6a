// SPDX-License-Identifier: Apache-2.0
// What:        the limits that the benchmarks are built with: KSHARE_BENCH_LIMITS is one of tiny,
//              preset (kDefaultLimits), wide, wider.
// Flow:        here -> consume.cpp, path.cpp.
// Memory:      wide: 1.2 MiB in all, wider: 6.6 MiB.
// Errors:      another name does not compile.
#ifndef KSHARE_BENCH_LIMITS_HPP
#define KSHARE_BENCH_LIMITS_HPP

#include "kshare/core/limits.hpp"

#if !defined(KSHARE_BENCH_LIMITS)
#define KSHARE_BENCH_LIMITS preset
#endif

namespace bench {

inline constexpr kshare::Limits tiny = kshare::kTinyLimits;
inline constexpr kshare::Limits preset = kshare::kDefaultLimits;

// 500 records of 100 bytes fit a slot, and the whole answer a window.
inline constexpr kshare::Limits wide = [] {
  auto limits = kshare::kDefaultLimits;
  limits.receive_window_bytes = 72 * 1024;
  limits.store_bytes = 8 * 64 * 1024;
  limits.records_max = 2048;
  limits.work_bytes = 256 * 1024;
  return limits;
}();

// The same for 500 records of 1 KiB.
inline constexpr kshare::Limits wider = [] {
  auto limits = wide;
  limits.receive_window_bytes = 256 * 1024;
  limits.store_bytes = 8 * 576 * 1024;
  limits.work_bytes = 1024 * 1024;
  return limits;
}();

inline constexpr kshare::Limits limits = KSHARE_BENCH_LIMITS;

}  // namespace bench

#endif  // KSHARE_BENCH_LIMITS_HPP
