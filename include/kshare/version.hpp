// SPDX-License-Identifier: Apache-2.0
// What:        the version of kshare; the only place where it is written (build files read it from
//              here).
#ifndef KSHARE_VERSION_HPP
#define KSHARE_VERSION_HPP

#define KSHARE_VERSION "0.1.0"

namespace kshare {
inline constexpr char kVersion[] = KSHARE_VERSION;
}  // namespace kshare

#endif  // KSHARE_VERSION_HPP
