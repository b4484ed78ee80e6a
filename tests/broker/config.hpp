// SPDX-License-Identifier: Apache-2.0
// What:        everything about the mini broker that a test can choose, and its observation types.
// Flow:        test -> Config -> Broker; Broker -> AckEvent, AcquireEvent, RecordState -> test.
// Memory:      plain values.
// Valid until: a Config is copied by the Broker; GroupSettings may be changed at any time.
// Errors:      none; values are trusted.
#ifndef MINIBROKER_CONFIG_HPP
#define MINIBROKER_CONFIG_HPP

#include <cstdint>
#include <map>
#include <string>

#include "codec.hpp"

namespace minibroker {

enum ApiKey : int16_t {
  kFetch = 1,
  kMetadata = 3,
  kFindCoordinator = 10,
  kApiVersions = 18,
  kShareGroupHeartbeat = 76,
  kShareFetch = 78,
  kShareAcknowledge = 79,
};

enum Error : int16_t {
  kUnknownServerError = -1,
  kNone = 0,
  kOffsetOutOfRange = 1,
  kUnknownTopicOrPartition = 3,
  kLeaderNotAvailable = 5,
  kNotLeaderOrFollower = 6,
  kCoordinatorNotAvailable = 15,
  kNotCoordinator = 16,
  kUnknownMemberId = 25,
  kUnsupportedVersion = 35,
  kInvalidRequest = 42,
  kGroupIdNotFound = 69,
  kFencedLeaderEpoch = 74,
  kUnknownLeaderEpoch = 75,
  kGroupMaxSizeReached = 81,
  kUnknownTopicId = 100,
  kFencedMemberEpoch = 110,
  kInvalidRecordState = 121,
  kShareSessionNotFound = 122,
  kInvalidShareSessionEpoch = 123,
  kRebootstrapRequired = 129,
  kShareSessionLimitReached = 133,
};

enum class State : uint8_t { Available, Acquired, Acknowledged, Archived };

enum AckType : int8_t { kGap = 0, kAccept = 1, kRelease = 2, kReject = 3, kRenew = 4 };

// Dynamic settings of one share group; Broker::group_settings() gives them for changing.
struct GroupSettings {
  int64_t lock_ms = 30000;         // share.record.lock.duration.ms
  int delivery_limit = 5;          // share.delivery.count.limit
  int max_record_locks = 2000;     // share.partition.max.record.locks
  bool start_at_latest = false;    // share.auto.offset.reset: false = earliest
  bool read_committed = false;     // share.isolation.level
  bool renew_enabled = true;       // share.renew.acknowledge.enable
};

struct Config {
  int nodes = 1;
  int first_node_id = 0;  // node ids are first_node_id .. first_node_id + nodes - 1
  int64_t lock_ms = 30000;
  int delivery_limit = 5;
  int max_record_locks = 2000;
  bool start_at_latest = false;
  bool read_committed = false;
  bool renew_enabled = true;
  int64_t session_timeout_ms = 45000;
  int32_t heartbeat_interval_ms = 5000;
  int64_t assignment_delay_ms = 0;  // 4.3+: assignments are computed at most once in this time
  int64_t init_delay_ms = 0;        // share state of a partition is ready this long after asked for
  int group_max_size = 200;
  int max_share_sessions = 2000;
  bool share_enabled = true;      // false: share.version 0, every share request answers 35
  int share_version = 1;          // finalized level; below 1 as above, -1 is not told
  int max_share_fetch_version = 2;  // also of ShareAcknowledge; 1 imitates 4.1
  int max_api_versions_version = 5;  // 4: before 4.4
  int max_metadata_version = 13;
  int max_find_coordinator_version = 6;
  int max_fetch_version = 18;
  std::map<int16_t, std::pair<int16_t, int16_t>> more_apis;  // listed, not served
  uint64_t seed = 1;
  std::string host = "127.0.0.1";
  int base_port = 9092;  // of the first node; each further node has the next port
  std::string cluster_id = "minibroker";
  std::string rack;              // of every node; "" = none
  int64_t throttle_ms = 0;       // told in every answer
  int32_t max_fetch_bytes = 57671680;  // the broker's fetch.max.bytes
  int32_t max_frame_bytes = 104857600;  // socket.request.max.bytes
  bool partial_batches = true;   // answers may end in part of a batch, as with a real log
  bool merge_acquired = true;    // 4.2+; false: re-acquired offsets come one range each (4.1)
  bool isolate_poison = true;    // 4.2+: ranges halve as the delivery limit comes nearer
  bool decrement_on_close = false;  // 4.1: release at session end lowers the delivery count
  bool stale_connections = true;    // 4.2+; false: a late disconnect ends the new session (4.1)
  bool zombie_polls = false;     // true: a long poll outlives its connection and may still acquire
  bool acks_first = false;       // real brokers race: acks may be in force before their own fetch
  bool release_wakes = false;    // real brokers do not complete a waiting poll after a RELEASE
  bool unload_empty_groups = true;  // a group without sessions leaves a broker's memory
  bool failover = false;         // stop_node() moves leaders and coordinator by itself
};

// The oldest broker with share groups as they are now.
inline Config kafka_4_1() {
  Config c;
  c.max_api_versions_version = 4;
  c.max_share_fetch_version = 1;
  c.merge_acquired = false;
  c.isolate_poison = false;
  c.decrement_on_close = true;
  c.stale_connections = false;
  return c;
}

// How many records of a partition are in which state for a group; see Broker::counts().
struct StateCounts {
  int64_t available = 0, acquired = 0, acknowledged = 0, archived = 0;
};

struct RecordState {
  State state = State::Available;
  int delivery_count = 0;
  std::string member;       // who holds it, when acquired
  int64_t lock_end = 0;     // when acquired
  bool in_flight = false;   // false: below the start offset (state is final), or not fetched yet
};

// One acknowledgement batch as the broker saw it; `error` is the result for its partition.
struct AckEvent {
  int64_t now;
  int conn;
  std::string group, member, topic;
  int partition;
  int64_t first, last;
  std::vector<int8_t> types;
  int16_t error;
};

// A range that was acquired and went into an answer.
struct AcquireEvent {
  int64_t now;
  int conn;
  std::string group, member, topic;
  int partition;
  int64_t first, last;
  int delivery_count;
  bool hidden;  // by hide_next_fetch(): acquired, but the client is not told
};

}  // namespace minibroker

#endif  // MINIBROKER_CONFIG_HPP
