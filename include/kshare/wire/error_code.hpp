// SPDX-License-Identifier: Apache-2.0
// What:        Kafka's error codes as far as kshare acts on them. Others are kept as numbers and
//              treated as unknown.
// Flow:        wire -> core.
// Source:      org.apache.kafka.common.protocol.Errors, by number.
#ifndef KSHARE_WIRE_ERROR_CODE_HPP
#define KSHARE_WIRE_ERROR_CODE_HPP

#include <cstdint>

namespace kshare {
namespace kafka {

inline constexpr int16_t kUnknownServerError = -1;
inline constexpr int16_t kNone = 0;
inline constexpr int16_t kOffsetOutOfRange = 1;
inline constexpr int16_t kUnknownTopicOrPartition = 3;
inline constexpr int16_t kLeaderNotAvailable = 5;
inline constexpr int16_t kNotLeaderOrFollower = 6;
inline constexpr int16_t kRequestTimedOut = 7;
inline constexpr int16_t kNetworkException = 13;
inline constexpr int16_t kCoordinatorLoadInProgress = 14;
inline constexpr int16_t kCoordinatorNotAvailable = 15;
inline constexpr int16_t kNotCoordinator = 16;
inline constexpr int16_t kUnknownMemberId = 25;
inline constexpr int16_t kTopicAuthorizationFailed = 29;
inline constexpr int16_t kGroupAuthorizationFailed = 30;
inline constexpr int16_t kUnsupportedVersion = 35;
inline constexpr int16_t kInvalidRequest = 42;
inline constexpr int16_t kGroupIdNotFound = 69;
inline constexpr int16_t kFencedLeaderEpoch = 74;
inline constexpr int16_t kUnknownTopicId = 100;
inline constexpr int16_t kInconsistentTopicId = 103;
inline constexpr int16_t kFencedMemberEpoch = 110;
inline constexpr int16_t kInvalidRecordState = 121;
inline constexpr int16_t kShareSessionNotFound = 122;
inline constexpr int16_t kInvalidShareSessionEpoch = 123;
inline constexpr int16_t kFencedStateEpoch = 124;
inline constexpr int16_t kRebootstrapRequired = 129;
inline constexpr int16_t kShareSessionLimitReached = 133;

// A terminal ack may be sent again only after these: the broker has just rolled it back.
constexpr bool ack_may_be_retried(int16_t code) {
  return code == kRequestTimedOut || code == kCoordinatorLoadInProgress ||
         code == kCoordinatorNotAvailable || code == kNotCoordinator;
}
// The coordinator has done nothing yet: it, or the one that takes its place, may soon.
constexpr bool heartbeat_may_be_retried(int16_t code) {
  return ack_may_be_retried(code) || code == kNetworkException;
}
// The share session is gone, but what we hold is not.
constexpr bool session_is_lost(int16_t code) {
  return code == kShareSessionNotFound || code == kInvalidShareSessionEpoch ||
         code == kShareSessionLimitReached;
}
// The leader has moved: CurrentLeader and NodeEndpoints of the answer may name the new one.
constexpr bool names_a_leader(int16_t code) {
  return code == kNotLeaderOrFollower || code == kFencedLeaderEpoch;
}
// The share partition is not in this broker's memory any more: what was acquired there is free.
constexpr bool is_evicted(int16_t code) {
  return names_a_leader(code) || code == kUnknownTopicOrPartition || code == kGroupIdNotFound ||
         code == kUnknownTopicId || code == kInconsistentTopicId || code == kFencedStateEpoch;
}

}  // namespace kafka
}  // namespace kshare

#endif  // KSHARE_WIRE_ERROR_CODE_HPP
