// SPDX-License-Identifier: Apache-2.0
// What:        words for people: describe(Status) and format(Event), each one line for a log.
// Flow:        Status and Event -> here -> the application's log. Nothing in kshare calls it.
// Memory:      the caller's buffer; kLineBytes are enough for every line that these functions make.
// Valid until: the text is the caller's. It ends with a NUL that the answered count leaves out.
// Errors:      none: a text longer than the buffer is cut; bytes that are no text become '?'.
//
//   char line[kshare::kLineBytes];
//   while (consumer.next_event(event)) log(line, kshare::format(event, line, sizeof line));
#ifndef KSHARE_CORE_DESCRIBE_HPP
#define KSHARE_CORE_DESCRIBE_HPP

#include <cstdint>

#include "kshare/base/status.hpp"
#include "kshare/base/text.hpp"
#include "kshare/core/event.hpp"

namespace kshare {

// A Kafka error code's name and what to do about it; {code, nullptr, nullptr} for one that this
// version does not know.
struct KafkaError {
  int16_t code;
  const char* name;
  const char* hint;
};

inline KafkaError kafka_error(int16_t code) {
  constexpr KafkaError kErrors[] = {
      {-1, "UNKNOWN_SERVER_ERROR", "the broker's own log has the reason"},
      {1, "OFFSET_OUT_OF_RANGE", "the records are gone from the log"},
      {2, "CORRUPT_MESSAGE", "the broker found damage in its log: look into the broker's log"},
      {3, "UNKNOWN_TOPIC_OR_PARTITION", "create the topic, or check its name"},
      {5, "LEADER_NOT_AVAILABLE", "the partition has no leader now: are its brokers up?"},
      {6, "NOT_LEADER_OR_FOLLOWER", "the leader has moved; it is looked up again"},
      {7, "REQUEST_TIMED_OUT", "the broker was too slow"},
      {9, "REPLICA_NOT_AVAILABLE", "a replica is missing: are all brokers up?"},
      {13, "NETWORK_EXCEPTION", "brokers could not reach each other"},
      {14, "COORDINATOR_LOAD_IN_PROGRESS", "the coordinator is starting; wait"},
      {15, "COORDINATOR_NOT_AVAILABLE",
       "if it lasts: share.coordinator.state.topic.replication.factor may be above the number "
       "of brokers"},
      {16, "NOT_COORDINATOR", "the coordinator has moved; it is looked up again"},
      {17, "INVALID_TOPIC_EXCEPTION", "no topic can have this name: correct the subscription"},
      {22, "ILLEGAL_GENERATION", "the member joins again"},
      {24, "INVALID_GROUP_ID", "correct group.id"},
      {25, "UNKNOWN_MEMBER_ID", "the coordinator has forgotten this member; it joins again"},
      {29, "TOPIC_AUTHORIZATION_FAILED", "needs READ on the topic"},
      {30, "GROUP_AUTHORIZATION_FAILED", "needs READ on the group"},
      {31, "CLUSTER_AUTHORIZATION_FAILED", "needs a permission on the cluster"},
      {33, "UNSUPPORTED_SASL_MECHANISM", "choose one of the listener's sasl.enabled.mechanisms"},
      {34, "ILLEGAL_SASL_STATE", "is this listener without SASL?"},
      {35, "UNSUPPORTED_VERSION",
       "the broker is older than Kafka 4.1, or share groups are off: kafka-features upgrade "
       "--feature share.version=1"},
      {42, "INVALID_REQUEST", "the broker's log has the reason"},
      {56, "KAFKA_STORAGE_ERROR", "the broker cannot use its disk"},
      {58, "SASL_AUTHENTICATION_FAILED", "check user name and password"},
      {68, "NON_EMPTY_GROUP", "the group still has members"},
      {69, "GROUP_ID_NOT_FOUND", "not a share group: is group.id taken by another kind of group?"},
      {74, "FENCED_LEADER_EPOCH", "the leader has moved; it is looked up again"},
      {75, "UNKNOWN_LEADER_EPOCH", "the broker is behind; tried again"},
      {78, "OFFSET_NOT_AVAILABLE", "the new leader is catching up; tried again"},
      {81, "GROUP_MAX_SIZE_REACHED", "the group is full: raise group.share.max.size"},
      {89, "THROTTLING_QUOTA_EXCEEDED", "a quota has been used up; tried again later"},
      {100, "UNKNOWN_TOPIC_ID", "the topic was deleted, or the broker does not know it yet"},
      {103, "INCONSISTENT_TOPIC_ID", "the topic was deleted and created again"},
      {110, "FENCED_MEMBER_EPOCH", "the coordinator has put this member out; it joins again"},
      {112, "UNSUPPORTED_ASSIGNOR", "the group's assignor is missing from the broker"},
      {113, "STALE_MEMBER_EPOCH", "the member joins again"},
      {121, "INVALID_RECORD_STATE", "the lock had run out: the records are delivered again"},
      {122, "SHARE_SESSION_NOT_FOUND", "the share session is opened again"},
      {123, "INVALID_SHARE_SESSION_EPOCH", "the share session is opened again"},
      {124, "FENCED_STATE_EPOCH", "the leader has moved; it is looked up again"},
      {129, "REBOOTSTRAP_REQUIRED", "starts again from bootstrap.servers"},
      {133, "SHARE_SESSION_LIMIT_REACHED", "the broker is full: group.share.max.share.sessions"},
  };
  for (const KafkaError& error : kErrors) {
    if (error.code == code) return error;
  }
  return {code, nullptr, nullptr};
}

// The words for a Linux errno that connections end with; nullptr for the others. The numbers are
// written out, as no header of the system is included here; MIPS has its own.
inline const char* errno_words(int16_t number) {
  struct Row {
    int16_t usual;
    int16_t mips;
    const char* words;
  };
  constexpr Row kRows[] = {
      {111, 146, "connection refused (nothing listens there)"},
      {110, 145, "no answer from the host"},
      {113, 148, "no route to the host"},
      {101, 128, "network unreachable"},
      {100, 127, "network down"},
      {112, 147, "host down"},
      {104, 131, "connection reset by the peer"},
      {103, 130, "connection aborted"},
      {32, 32, "the peer has closed"},
      {99, 126, "no local address or port left to connect from"},
      {97, 124, "this system has no such address family (IPv6?)"},
      {13, 13, "not permitted (firewall?)"},
      {1, 1, "not permitted (firewall?)"},
      {24, 24, "too many open files in this process"},
      {23, 23, "too many open files in this system"},
      {105, 132, "the system has no buffers left"},
      {12, 12, "the system has no memory left"},
  };
#if defined(__mips__)
  constexpr bool kMips = true;
#else
  constexpr bool kMips = false;
#endif
  for (const Row& row : kRows) {
    if ((kMips ? row.mips : row.usual) == number) return row.words;
  }
  return nullptr;
}

// What happened, and what to do.
inline const char* errc_words(Errc code) {
  switch (code) {
    case Errc::ok: return "ok";
    case Errc::bad_option: return "an option is missing or out of range: last_error() names it";
    case Errc::too_long: return "a text is longer than its limit: shorten it or raise the limit";
    case Errc::too_many:
      return "more topics than Limits::topics_max, commits without an answer, or names to look up";
    case Errc::not_running: return "the consumer is not running: call start()";
    case Errc::already_running: return "the consumer is running: call close() before start()";
    case Errc::no_entropy: return "the system gave no random bytes: try again later in the boot";
    case Errc::unknown_record: return "no such record is held: it was settled before";
    case Errc::lock_lost: return "the record's lock has run out: it will be delivered again";
    case Errc::already_acknowledged: return "the acknowledgement has left and cannot be changed";
    case Errc::wrong_mode: return "no such kind of acknowledgement";
    case Errc::cannot_renew:
      return "the lock cannot be renewed here: acknowledge the record before it ends";
    case Errc::in_progress: return "acknowledgements have no answer yet: go on calling poll()";
    case Errc::unknown_ticket: return "no such commit, or its results are no longer kept";
    case Errc::connect_failed: return "cannot connect";
    case Errc::disconnected: return "disconnected";
    case Errc::timed_out: return "no answer in time";
    case Errc::malformed: return "the peer does not speak Kafka: wrong port, or TLS?";
    case Errc::bad_address:
      return "neither a numeric address nor a name that can be looked up (names need a resolver: "
             "net/dns.hpp)";
    case Errc::name_not_found: return "neither hosts file nor DNS has an address for this name";
    case Errc::lookup_failed: return "no DNS server gave an answer";
    case Errc::unsupported_broker: return "the broker is too old: kshare needs Kafka 4.1 or later";
    case Errc::share_groups_off:
      return "share groups are off: kafka-features upgrade --feature share.version=1";
    case Errc::group_rejected: return "refused by the group coordinator";
    case Errc::authentication_failed: return "authentication failed";
    case Errc::broker_error: return "the broker answered an error";
  }
  return "unknown status";
}

inline TextOut& operator<<(TextOut& out, Status status) {
  const bool kafka = status.code == Errc::broker_error || status.code == Errc::group_rejected ||
                     status.code == Errc::authentication_failed;
  if (status.code != Errc::broker_error || status.detail == 0) out << errc_words(status.code);
  if (status.detail == 0 || status.code == Errc::share_groups_off) return out;
  if (status.code != Errc::broker_error) out << ": ";
  if (kafka) {
    const KafkaError error = kafka_error(status.detail);
    if (error.name == nullptr) return out << "error " << int32_t{status.detail};
    return out << error.name << ": " << error.hint;
  }
  const char* const words = errno_words(status.detail);
  if (words != nullptr) return out << words;
  return out << "errno " << int32_t{status.detail};
}

// One line for a status; answers its length without the NUL.
inline uint32_t describe(Status status, char* out, uint32_t room) {
  TextOut text(out, room);
  text << status;
  return text.size();
}

// "orders partition 3", then the offsets that an event names.
inline TextOut& place(TextOut& out, const Event& event) {
  out << event.words();
  if (event.partition >= 0) out << " partition " << event.partition;
  return out;
}
inline TextOut& offsets(TextOut& out, const Event& event) {
  place(out, event);
  if (event.first >= event.last) return out << " offset " << event.first << ": ";
  return out << " offsets " << event.first << " to " << event.last << ": ";
}

inline void format_connection(const Event& event, TextOut& out) {
  if (event.type == EventType::connected) {
    out << "connected to " << event.words();
    if (event.node >= 0) out << ", node " << event.node;
    return;
  }
  out << (event.type == EventType::disconnected ? "lost " : "cannot use ") << event.words();
  out << ": " << event.status << "; trying again";
}

inline void format_records(const Event& event, TextOut& out) {
  offsets(out, event);
  if (event.type == EventType::record_too_large) {
    out << "larger than a store slot, cannot be handed out: raise Limits::store_bytes";
  } else if (event.type == EventType::batch_corrupt) {
    out << "the batch's CRC is wrong, its records are rejected";
  } else if (event.type == EventType::batch_undecodable) {
    out << "no codec for this batch, or an unknown form: set Options::codecs";
  } else if (event.type == EventType::record_malformed) {
    out << "the record cannot be read: its producer is at fault";
  } else if (event.type == EventType::lock_expired) {
    out << "its lock ran out while the application held it; it will be delivered again";
  } else if (event.type == EventType::renew_failed) {
    const bool either = event.status == Status{Errc::broker_error, 121};  // the broker says no more
    out << "not renewed: ";
    if (either) out << "its lock is gone, or share.renew.acknowledge.enable is off for the group";
    else out << event.status;
  } else {
    out << "given back, nobody took them in time";
  }
}

inline void format_acks(const Event& event, TextOut& out) {
  place(out, event) << ": " << event.value << " acknowledgements failed: ";
  // Not the topic is unknown, but the group's state of this partition at that broker.
  if (event.status == Status{Errc::broker_error, 3}) {
    out << "the broker has unloaded the partition: these records are delivered again";
  } else {
    out << event.status;
  }
}

// One line for an event, without a line break; answers its length without the NUL.
inline uint32_t format(const Event& event, char* room, uint32_t bytes) {
  TextOut out(room, bytes);
  switch (event.type) {
    case EventType::none: break;
    case EventType::connected:
    case EventType::connection_failed:
    case EventType::disconnected: format_connection(event, out); break;
    case EventType::rebootstrapping:
      out << "asking bootstrap.servers again, the brokers known are forgotten: " << event.status;
      break;
    case EventType::coordinator_found:
      out << "the group coordinator is node " << event.node;
      break;
    case EventType::joined: out << "joined the group with epoch " << event.value; break;
    case EventType::rejoining: out << "joining the group again: " << event.status; break;
    case EventType::assignment_changed:
      out << "assigned partitions: " << event.value;
      break;
    case EventType::assignment_too_large:
      out << event.value << " assigned partitions are not served: raise Limits::partitions_max";
      break;
    case EventType::leaders_too_many:
      out << event.value << " leaders of assigned partitions are not served: ";
      out << "raise Limits::brokers_max (or host_bytes)";
      break;
    case EventType::topic_missing:
      out << "topic " << event.words() << " does not exist, or DESCRIBE on it is missing; waiting";
      break;
    case EventType::topic_error:
      out << "topic " << event.words() << ": " << event.status;
      break;
    case EventType::partition_error: place(out, event) << ": " << event.status; break;
    case EventType::session_reset:
      out << "share session with node " << event.node << " is opened again: ";
      out << event.status;
      break;
    case EventType::session_surplus:
      out << "node " << event.node << " gave " << event.value;
      out << " ranges more than Limits::lots_max; they are given back";
      break;
    case EventType::record_too_large:
    case EventType::batch_corrupt:
    case EventType::batch_undecodable:
    case EventType::record_malformed:
    case EventType::lock_expired:
    case EventType::renew_failed:
    case EventType::released_unseen: format_records(event, out); break;
    case EventType::stalled:
      out << "the application holds " << event.value;
      out << " records: nothing more comes until it acknowledges or detaches some";
      break;
    case EventType::acks_failed: format_acks(event, out); break;
    case EventType::acks_unknown:
      out << "node " << event.node << ": the answer to " << event.value;
      out << " acknowledgements was lost; these records may come again";
      break;
    case EventType::group_error:
      out << "group coordinator: " << event.status;
      if (event.text_bytes != 0) out << " (" << event.words() << ")";
      break;
    case EventType::failed: out << "failed for good: " << event.status; break;
  }
  return out.size();
}

}  // namespace kshare

#endif  // KSHARE_CORE_DESCRIBE_HPP
