// SPDX-License-Identifier: Apache-2.0
// What:        bodies of the share, fetch and heartbeat requests as structs, and share answers.
// Flow:        Reader -> decode_*() -> Broker -> ShareAnswer -> encode_*() -> Writer.
// Memory:      plain containers.
// Valid until: all values are copies.
// Errors:      decode_*() leaves a failed Reader; the broker then closes the connection.
#ifndef MINIBROKER_MESSAGES_HPP
#define MINIBROKER_MESSAGES_HPP

#include "group.hpp"

namespace minibroker {

struct RequestHeader {
  int16_t key = 0;
  int16_t version = 0;
  int32_t correlation = 0;
  std::optional<std::string> client;
};

inline bool flexible_request(int16_t key, int16_t version) {
  switch (key) {
    case kFetch: return version >= 12;
    case kMetadata: return version >= 9;
    case kFindCoordinator:
    case kApiVersions: return version >= 3;
    default: return true;
  }
}

inline RequestHeader decode_header(Reader& in) {
  RequestHeader h;
  h.key = in.i16();
  h.version = in.i16();
  h.correlation = in.i32();
  h.client = in.nullable_string(false);
  return h;
}

// One partition of a share request: fetched, or carrying acknowledgements, or both.
struct SharePart {
  TopicPartition tp;
  std::vector<AckBatch> acks;
};

struct ShareRequest {
  bool is_fetch = false;
  std::optional<std::string> group, member;
  int32_t epoch = 0;
  int32_t max_wait_ms = 0, min_bytes = 0, max_bytes = 0, max_records = 0, batch_size = 0;
  int8_t mode = 0;
  bool renew = false;
  std::vector<SharePart> parts;
  std::vector<TopicPartition> forgotten;
  bool any_acks() const {
    return std::any_of(parts.begin(), parts.end(),
                       [](const SharePart& p) { return !p.acks.empty(); });
  }
};

inline void decode_share_topics(Reader& in, ShareRequest& q) {
  const int64_t topics = in.array(true);
  for (int64_t t = 0; t < topics && in.ok(); ++t) {
    const Uuid id = in.uuid();
    const int64_t parts = in.array(true);
    for (int64_t p = 0; p < parts && in.ok(); ++p) {
      SharePart part{{id, in.i32()}, {}};
      const int64_t batches = in.array(true);
      for (int64_t b = 0; b < batches && in.ok(); ++b) {
        AckBatch batch{in.i64(), in.i64(), {}};
        const int64_t types = in.array(true);
        for (int64_t i = 0; i < types && in.ok(); ++i) batch.types.push_back(in.i8());
        in.tags();
        part.acks.push_back(batch);
      }
      in.tags();
      q.parts.push_back(part);
    }
    in.tags();
  }
}

inline ShareRequest decode_share_fetch(Reader& in, int16_t version) {
  ShareRequest q;
  q.is_fetch = true;
  q.group = in.nullable_string(true);
  q.member = in.nullable_string(true);
  q.epoch = in.i32();
  q.max_wait_ms = in.i32();
  q.min_bytes = in.i32();
  q.max_bytes = in.i32();
  q.max_records = in.i32();
  q.batch_size = in.i32();
  if (version >= 2) {
    q.mode = in.i8();
    q.renew = in.boolean();
  }
  decode_share_topics(in, q);
  const int64_t forgotten = in.array(true);
  for (int64_t t = 0; t < forgotten && in.ok(); ++t) {
    const Uuid id = in.uuid();
    const int64_t parts = in.array(true);
    for (int64_t p = 0; p < parts && in.ok(); ++p) q.forgotten.push_back({id, in.i32()});
    in.tags();
  }
  in.tags();
  return q;
}

inline ShareRequest decode_share_acknowledge(Reader& in, int16_t version) {
  ShareRequest q;
  q.group = in.nullable_string(true);
  q.member = in.nullable_string(true);
  q.epoch = in.i32();
  if (version >= 2) q.renew = in.boolean();
  decode_share_topics(in, q);
  in.tags();
  return q;
}

inline HeartbeatRequest decode_heartbeat(Reader& in) {
  HeartbeatRequest q;
  q.group = in.string(true);
  q.member = in.string(true);
  q.epoch = in.i32();
  q.rack = in.nullable_string(true);
  const int64_t names = in.array(true);
  if (names >= 0) q.names.emplace();
  for (int64_t i = 0; i < names && in.ok(); ++i) q.names->push_back(in.string(true));
  in.tags();
  return q;
}

struct FetchPart {
  TopicPartition tp;
  int32_t leader_epoch = -1;
  int64_t offset = 0;
  int32_t max_bytes = 0;
};

struct FetchRequest {
  int32_t replica = -1;
  int32_t max_wait_ms = 0, min_bytes = 0, max_bytes = 0;
  int8_t isolation = 0;
  int32_t session_id = 0, session_epoch = -1;
  std::vector<FetchPart> parts;
};

inline FetchRequest decode_fetch(Reader& in, int16_t version) {
  FetchRequest q;
  if (version <= 14) q.replica = in.i32();
  q.max_wait_ms = in.i32();
  q.min_bytes = in.i32();
  q.max_bytes = in.i32();
  q.isolation = in.i8();
  q.session_id = in.i32();
  q.session_epoch = in.i32();
  const int64_t topics = in.array(true);
  for (int64_t t = 0; t < topics && in.ok(); ++t) {
    const Uuid id = in.uuid();
    const int64_t parts = in.array(true);
    for (int64_t p = 0; p < parts && in.ok(); ++p) {
      FetchPart part;
      part.tp = {id, in.i32()};
      part.leader_epoch = in.i32();
      part.offset = in.i64();
      in.i32();  // LastFetchedEpoch
      in.i64();  // LogStartOffset
      part.max_bytes = in.i32();
      in.tags();
      q.parts.push_back(part);
    }
    in.tags();
  }
  const int64_t forgotten = in.array(true);
  for (int64_t t = 0; t < forgotten && in.ok(); ++t) {
    in.uuid();
    for (int64_t p = in.array(true); p > 0 && in.ok(); --p) in.i32();
    in.tags();
  }
  in.string(true);  // RackId
  in.tags();
  return q;
}

struct Endpoint {
  int id = 0;
  std::string host;
  int port = 0;
};

struct PartAnswer {
  TopicPartition tp;
  int16_t error = kNone;
  int16_t ack_error = kNone;
  int32_t leader = 0;  // as on the wire: 0, 0 unless the error is 6 or 74
  int32_t leader_epoch = 0;
  std::string records;
  std::vector<Acquired> acquired;
};

struct ShareAnswer {
  int64_t throttle_ms = 0;
  int16_t error = kNone;
  std::optional<std::string> message;
  int64_t lock_ms = 0;
  std::vector<PartAnswer> parts;
  std::vector<Endpoint> endpoints;
};

// Partitions by topic, topics in the order of their first partition.
inline std::vector<std::vector<const PartAnswer*>> by_topic(const std::vector<PartAnswer>& parts) {
  std::vector<std::vector<const PartAnswer*>> topics;
  for (const PartAnswer& p : parts) {
    auto it = std::find_if(topics.begin(), topics.end(), [&](const auto& t) {
      return t.front()->tp.first == p.tp.first;
    });
    if (it == topics.end()) it = topics.insert(it, std::vector<const PartAnswer*>());
    it->push_back(&p);
  }
  return topics;
}

inline void encode_endpoints(Writer& w, const std::vector<Endpoint>& endpoints) {
  w.array(endpoints.size());
  for (const Endpoint& e : endpoints) w.i32(e.id).compact(e.host).i32(e.port).null().tags();
}

inline void encode_share_fetch(Writer& w, const ShareAnswer& a) {
  w.i32(a.throttle_ms).i16(a.error).compact(a.message).i32(a.lock_ms);
  const auto topics = by_topic(a.parts);
  w.array(topics.size());
  for (const auto& topic : topics) {
    w.uuid(topic.front()->tp.first).array(topic.size());
    for (const PartAnswer* p : topic) {
      w.i32(p->tp.second).i16(p->error).null().i16(p->ack_error).null();
      w.i32(p->leader).i32(p->leader_epoch).tags();
      w.compact(p->records).array(p->acquired.size());
      for (const Acquired& r : p->acquired) w.i64(r.first).i64(r.last).i16(r.count).tags();
      w.tags();
    }
    w.tags();
  }
  encode_endpoints(w, a.endpoints);
  w.tags();
}

inline void encode_share_acknowledge(Writer& w, const ShareAnswer& a, int16_t version) {
  w.i32(a.throttle_ms).i16(a.error).compact(a.message);
  if (version >= 2) w.i32(a.lock_ms);
  const auto topics = by_topic(a.parts);
  w.array(topics.size());
  for (const auto& topic : topics) {
    w.uuid(topic.front()->tp.first).array(topic.size());
    for (const PartAnswer* p : topic) {
      w.i32(p->tp.second).i16(p->ack_error).null();
      w.i32(p->leader).i32(p->leader_epoch).tags().tags();
    }
    w.tags();
  }
  encode_endpoints(w, a.endpoints);
  w.tags();
}

}  // namespace minibroker

#endif  // MINIBROKER_MESSAGES_HPP
