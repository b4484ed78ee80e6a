// SPDX-License-Identifier: Apache-2.0
// What:        hand-encoded requests for the mini broker's own tests, and decoded answers.
// Flow:        Client -> Broker::input(); Broker::take_output() -> Client. Shared by selftest*.cpp.
// Memory:      plain containers.
// Valid until: answers are copies.
// Errors:      an answer that does not parse has parsed == false.
#ifndef MINIBROKER_SELFTEST_CLIENT_HPP
#define MINIBROKER_SELFTEST_CLIENT_HPP

#include <map>
#include <string>
#include <vector>

#include "broker.hpp"

namespace minibroker {

struct PartReply {
  int16_t error = -2;
  int16_t ack_error = -2;
  int32_t leader = 0, leader_epoch = 0;
  std::string records;
  std::vector<Acquired> acquired;
  int64_t high_watermark = 0, log_start = 0;
};

struct Reply {
  bool parsed = false;
  bool any = false;  // there was an answer
  int16_t error = -2;
  int32_t throttle = 0, lock_ms = 0, epoch = 0, interval = 0;
  bool assigned = false;
  std::vector<TopicPartition> assignment;
  std::map<TopicPartition, PartReply> parts;
  std::vector<Endpoint> endpoints;
};

struct FetchOptions {
  int32_t max_wait = 0, min_bytes = 1, max_bytes = 1 << 20, max_records = 500, batch_size = 500;
  int8_t mode = 0;
  bool renew = false;
  int16_t version = 2;
};

class Client {
 public:
  Client(Broker& broker, std::string group, std::string member, int node = 0, int64_t now = 0)
      : b(broker), group_(std::move(group)), member_(std::move(member)) {
    conn = b.connect(node, now);
  }

  Broker& b;
  int conn;
  int32_t epoch = 0;  // of the share session

  std::string request(int16_t key, int16_t version, const std::string& body) {
    Writer w;
    w.i16(key).i16(version).i32(++correlation_).string16("selftest");
    if (flexible_request(key, version)) w.tags();
    return framed(w.raw(body).out);
  }
  void send(int16_t key, int16_t version, const std::string& body, int64_t now) {
    const std::string bytes = request(key, version, body);
    b.input(conn, bytes.data(), bytes.size(), now);
  }
  // Body of the next answer; empty when there is none or its header is wrong.
  std::string receive(bool flexible = true) {
    in_ += b.take_output(conn);
    if (in_.size() < 4) return {};
    const size_t size = static_cast<size_t>(Reader(in_).i32());
    if (in_.size() < 4 + size) return {};
    Reader r(in_.data() + 4, size);
    in_correlation = r.i32();
    if (flexible) r.tags();
    const std::string body = r.bytes(r.left());
    in_.erase(0, 4 + size);
    return body;
  }
  int32_t in_correlation = 0;

  Reply heartbeat(int32_t member_epoch, const std::vector<std::string>& names, int64_t now) {
    Writer w;
    w.compact(group_).compact(member_).i32(member_epoch).null();
    if (names.empty()) w.null();
    else w.array(names.size());
    for (const std::string& n : names) w.compact(n);
    send(kShareGroupHeartbeat, 1, w.tags().out, now);
    const std::string body = receive();
    Reader r(body);
    Reply a;
    a.throttle = r.i32();
    a.error = r.i16();
    r.nullable_string(true);
    r.nullable_string(true);
    a.epoch = r.i32();
    a.interval = r.i32();
    a.assigned = r.i8() == 1;
    for (int64_t t = a.assigned ? r.array(true) : 0; t > 0 && r.ok(); --t) {
      const Uuid id = r.uuid();
      for (int64_t p = r.array(true); p > 0 && r.ok(); --p) a.assignment.push_back({id, r.i32()});
      r.tags();
    }
    if (a.assigned) r.tags();
    r.tags();
    a.parsed = r.done();
    return a;
  }

  static void topics(Writer& w, const std::vector<SharePart>& parts) {
    w.array(parts.size());  // a topic entry for each partition, unless they are of the same topic
    for (const SharePart& p : parts) {
      w.uuid(p.tp.first).array(1).i32(p.tp.second).array(p.acks.size());
      for (const AckBatch& a : p.acks) {
        w.i64(a.first).i64(a.last).array(a.types.size());
        for (int8_t t : a.types) w.i8(t);
        w.tags();
      }
      w.tags().tags();
    }
  }
  void send_fetch(int32_t session_epoch, const std::vector<SharePart>& parts, int64_t now,
                  const FetchOptions& o = {}, const std::vector<TopicPartition>& forget = {}) {
    Writer w;
    w.compact(group_).compact(member_).i32(session_epoch).i32(o.max_wait).i32(o.min_bytes);
    w.i32(o.max_bytes).i32(o.max_records).i32(o.batch_size);
    if (o.version >= 2) w.i8(o.mode).boolean(o.renew);
    topics(w, parts);
    w.array(forget.size());
    for (const TopicPartition& tp : forget) w.uuid(tp.first).array(1).i32(tp.second).tags();
    send(kShareFetch, o.version, w.tags().out, now);
  }
  Reply receive_fetch() {
    const std::string body = receive();
    Reader r(body);
    Reply a;
    a.any = !body.empty();
    a.throttle = r.i32();
    a.error = r.i16();
    r.nullable_string(true);
    a.lock_ms = r.i32();
    for (int64_t t = r.array(true); t > 0 && r.ok(); --t) {
      const Uuid id = r.uuid();
      for (int64_t p = r.array(true); p > 0 && r.ok(); --p) fetch_part(r, id, a);
      r.tags();
    }
    endpoints(r, a);
    r.tags();
    a.parsed = r.done();
    return a;
  }
  // Keeps the session epoch itself.
  Reply fetch(const std::vector<SharePart>& parts, int64_t now, const FetchOptions& o = {},
              const std::vector<TopicPartition>& forget = {}) {
    send_fetch(epoch, parts, now, o, forget);
    Reply a = receive_fetch();
    if (a.any && a.error == kNone) ++epoch;
    return a;
  }
  Reply acknowledge(int32_t session_epoch, const std::vector<SharePart>& parts, int64_t now,
                    bool renew = false, int16_t version = 2) {
    Writer w;
    w.compact(group_).compact(member_).i32(session_epoch);
    if (version >= 2) w.boolean(renew);
    topics(w, parts);
    send(kShareAcknowledge, version, w.tags().out, now);
    const std::string body = receive();
    Reader r(body);
    Reply a;
    a.any = !body.empty();
    a.throttle = r.i32();
    a.error = r.i16();
    r.nullable_string(true);
    if (version >= 2) a.lock_ms = r.i32();
    for (int64_t t = r.array(true); t > 0 && r.ok(); --t) {
      const Uuid id = r.uuid();
      for (int64_t p = r.array(true); p > 0 && r.ok(); --p) {
        PartReply& part = a.parts[{id, r.i32()}];
        part.ack_error = r.i16();
        r.nullable_string(true);
        part.leader = r.i32();
        part.leader_epoch = r.i32();
        r.tags();
        r.tags();
      }
      r.tags();
    }
    endpoints(r, a);
    r.tags();
    a.parsed = r.done();
    if (a.error == kNone && session_epoch > 0) epoch = session_epoch + 1;
    return a;
  }
  // Acks at the next epoch.
  Reply ack(const std::vector<SharePart>& parts, int64_t now, bool renew = false) {
    return acknowledge(epoch, parts, now, renew);
  }

 private:
  static void fetch_part(Reader& r, const Uuid& id, Reply& a) {
    PartReply& part = a.parts[{id, r.i32()}];
    part.error = r.i16();
    r.nullable_string(true);
    part.ack_error = r.i16();
    r.nullable_string(true);
    part.leader = r.i32();
    part.leader_epoch = r.i32();
    r.tags();
    part.records = r.nullable_string(true).value_or("");
    for (int64_t n = r.array(true); n > 0 && r.ok(); --n) {
      const int64_t first = r.i64();
      const int64_t last = r.i64();
      part.acquired.push_back({first, last, r.i16()});
      r.tags();
    }
    r.tags();
  }
  static void endpoints(Reader& r, Reply& a) {
    for (int64_t n = r.array(true); n > 0 && r.ok(); --n) {
      Endpoint e;
      e.id = r.i32();
      e.host = r.string(true);
      e.port = r.i32();
      r.nullable_string(true);
      r.tags();
      a.endpoints.push_back(e);
    }
  }

  std::string group_, member_, in_;
  int32_t correlation_ = 0;
};

inline std::vector<Rec> some_records(int n, const std::string& prefix = "v") {
  std::vector<Rec> records(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) {
    records[static_cast<size_t>(i)].value = prefix + std::to_string(i);
    records[static_cast<size_t>(i)].timestamp = 1000 + i;
  }
  return records;
}

}  // namespace minibroker

#endif  // MINIBROKER_SELFTEST_CLIENT_HPP
