// SPDX-License-Identifier: Apache-2.0
// What:        the Kafka APIs kshare speaks, the versions it can do, their names.
// Flow:        wire -> message, core/link.hpp (which negotiates one version for each).
// Source:      Apache Kafka 4.1 to 4.4 message schemas; KIP-932.
#ifndef KSHARE_WIRE_API_HPP
#define KSHARE_WIRE_API_HPP

#include <cstdint>

namespace kshare {

enum class Api : uint8_t {
  fetch,
  metadata,
  find_coordinator,
  api_versions,
  share_group_heartbeat,
  share_fetch,
  share_acknowledge,
};

struct ApiRow {
  int16_t key;
  int16_t min;
  int16_t max;
};

inline constexpr uint32_t kApis = 7;
inline constexpr ApiRow kApiRows[kApis] = {
    {1, 13, 13},  // Fetch
    {3, 12, 13},  // Metadata
    {10, 4, 6},   // FindCoordinator
    {18, 0, 5},   // ApiVersions
    {76, 1, 1},   // ShareGroupHeartbeat
    {78, 1, 2},   // ShareFetch: 1 is Kafka 4.1, without renewals and record_limit
    {79, 1, 2},   // ShareAcknowledge
};

constexpr const ApiRow& api_row(Api api) { return kApiRows[static_cast<uint32_t>(api)]; }

// In Kafka. For people: only what makes texts calls it.
inline const char* api_name(Api api) {
  switch (api) {
    case Api::fetch: return "Fetch";
    case Api::metadata: return "Metadata";
    case Api::find_coordinator: return "FindCoordinator";
    case Api::api_versions: return "ApiVersions";
    case Api::share_group_heartbeat: return "ShareGroupHeartbeat";
    case Api::share_fetch: return "ShareFetch";
    case Api::share_acknowledge: return "ShareAcknowledge";
  }
  return "unknown";
}

}  // namespace kshare

#endif  // KSHARE_WIRE_API_HPP
