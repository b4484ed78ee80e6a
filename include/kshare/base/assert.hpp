// SPDX-License-Identifier: Apache-2.0
// What:        KSHARE_ASSERT for bugs (ours or a caller's), never for what a broker or a network
//              did.
// Flow:        used everywhere below include/kshare.
// Memory:      none.
// Errors:      a failed assertion calls KSHARE_PANIC(text), which traps unless the application
//              defines its own. Both stay on in release builds. Define them alike in every
//              translation unit, or not at all.
#ifndef KSHARE_BASE_ASSERT_HPP
#define KSHARE_BASE_ASSERT_HPP

#ifndef KSHARE_PANIC
#define KSHARE_PANIC(text) __builtin_trap()
#endif

#ifndef KSHARE_ASSERT
#define KSHARE_ASSERT(condition) ((condition) ? static_cast<void>(0) : KSHARE_PANIC(#condition))
#endif

#endif  // KSHARE_BASE_ASSERT_HPP
