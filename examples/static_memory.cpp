// SPDX-License-Identifier: Apache-2.0
// What:        what a consumer costs in RAM, part by part, for the four presets. The compiler knows
//              all of it; nothing is connected.
// Flow:        sizeof -> one table on standard output.
// Memory:      none: no storage is declared here, only measured.
// Errors:      exit 0. A preset above its promise does not compile.
#include <cstdio>

#include "kshare/kshare.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"

namespace {

struct Part {
  const char* name;
  size_t bytes;
};

template <const kshare::Limits& L>
struct Parts {
  using Storage = kshare::Storage<L>;
  static constexpr size_t kTexts = sizeof(Storage::bootstrap) + sizeof(Storage::group_id) +
                                   sizeof(Storage::client_id) + sizeof(Storage::client_rack) +
                                   sizeof(Storage::error_text);
  static constexpr size_t kNetwork = sizeof(kshare::posix::TcpPool<L>);
  static constexpr size_t kAll = sizeof(Storage) + sizeof(kshare::ShareConsumer) + kNetwork;

  static constexpr Part kParts[] = {
      {"links and sessions", sizeof(Storage::peers)},
      {"receive windows", sizeof(Storage::receive_windows)},
      {"send windows", sizeof(Storage::send_windows)},
      {"record store", sizeof(Storage::store)},
      {"store slots", sizeof(Storage::slots)},
      {"acknowledgements", sizeof(Storage::acks)},
      {"commits", sizeof(Storage::commits)},
      {"lots", sizeof(Storage::lots)},
      {"partitions", sizeof(Storage::partitions) + sizeof(Storage::lists)},
      {"topics", sizeof(Storage::topics) + sizeof(Storage::topic_names)},
      {"brokers", sizeof(Storage::brokers) + sizeof(Storage::hosts)},
      {"events", sizeof(Storage::events)},
      {"texts", kTexts},
      {"Storage", sizeof(Storage)},
      {"ShareConsumer", sizeof(kshare::ShareConsumer)},
      {"posix::TcpPool", kNetwork},
      {"all", kAll},
      {"names, if wanted", sizeof(kshare::posix::DnsStorage<L.links_max + 2>) +
                               sizeof(kshare::posix::Dns)},
  };
};

using Tiny = Parts<kshare::kTinyLimits>;
using Small = Parts<kshare::kSmallLimits>;
using Default = Parts<kshare::kDefaultLimits>;
using Large = Parts<kshare::kLargeLimits>;
static_assert(Tiny::kAll <= 16 * 1024, "kTinyLimits: 16 KiB in all");
static_assert(Small::kAll <= 64 * 1024, "kSmallLimits: 64 KiB in all");
static_assert(Default::kAll <= 512 * 1024, "kDefaultLimits: 512 KiB in all");
static_assert(Large::kAll <= 2048 * 1024, "kLargeLimits: 2 MiB in all");

}  // namespace

int main() {
  std::printf("%-20s %9s %9s %9s %9s\n", "bytes", "Tiny", "Small", "Default", "Large");
  constexpr size_t kCount = sizeof Tiny::kParts / sizeof(Part);
  for (size_t i = 0; i < kCount; ++i) {
    std::printf("%-20s %9zu %9zu %9zu %9zu\n", Tiny::kParts[i].name, Tiny::kParts[i].bytes,
                Small::kParts[i].bytes, Default::kParts[i].bytes, Large::kParts[i].bytes);
  }
  return 0;
}
