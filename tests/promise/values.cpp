// SPDX-License-Identifier: Apache-2.0
// Promises that a compiler can check: trivial destructors, the sizes of what is handed about, the
// whole RAM of each preset. Compiled on 64 and on 32 bit; never run.
#include <type_traits>

#include "kshare/consumer.hpp"
#include "kshare/net/posix.hpp"

namespace {

template <class... T>
constexpr bool kTrivial = (std::is_trivially_destructible_v<T> && ...);

static_assert(kTrivial<kshare::Status, kshare::Instant, kshare::Bytes, kshare::Limits>);
static_assert(kTrivial<kshare::Options, kshare::Stats, kshare::Event>);
static_assert(kTrivial<kshare::Record, kshare::RecordId, kshare::Headers>);
static_assert(kTrivial<kshare::Endpoint, kshare::Interest, kshare::IoResult>);
static_assert(kTrivial<kshare::ShareConsumer, kshare::Storage<kshare::kDefaultLimits>>);
static_assert(kTrivial<kshare::posix::Tcp, kshare::posix::TcpPool<kshare::kDefaultLimits>>);

static_assert(sizeof(kshare::Status) == 4);
static_assert(sizeof(kshare::Event) <= 80);
static_assert(sizeof(kshare::Record) <= 144);

template <const kshare::Limits& L>
constexpr size_t kRam = sizeof(kshare::Storage<L>) + sizeof(kshare::ShareConsumer) +
                        sizeof(kshare::posix::TcpPool<L>);
static_assert(kRam<kshare::kTinyLimits> <= 16u * 1024);
static_assert(kRam<kshare::kSmallLimits> <= 64u * 1024);
static_assert(kRam<kshare::kDefaultLimits> <= 512u * 1024);
static_assert(kRam<kshare::kLargeLimits> <= 2048u * 1024);

}  // namespace
