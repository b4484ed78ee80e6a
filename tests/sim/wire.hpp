// SPDX-License-Identifier: Apache-2.0
// What:        reads along on every connection: what a member asks for and acknowledges, and what
//              it has been told, octet by octet.
// Flow:        Network -> Wire -> Oracle; requests that brought nothing -> idle().
// Memory:      frames until they are complete, what an answer tells until its octets were read.
// Valid until: Lives and Oracles must outlive it.
// Errors:      Oracle::fault().
#ifndef KSHARE_SIM_WIRE_HPP
#define KSHARE_SIM_WIRE_HPP

#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "network.hpp"
#include "oracle.hpp"

namespace sim {

// One consumer from its start to its end, as the wire sees it.
struct Life {
  uint64_t id = 0;
  Oracle* oracle = nullptr;
  uint32_t slot_bytes = 0;
  std::function<int64_t()> clock;
  uint64_t requests = 0;
  uint64_t acks_ok = 0;  // of records that had been handed out
  bool torn = false;     // an answer has ended within a partition: who knows what was read of it
  std::deque<int64_t> idle;  // when requests brought nothing, in the last second of the world
  std::deque<int64_t> opens;  // connections tried in the last second
  std::deque<int64_t> rereads;  // likewise: batches read again since a record was handed out
};

class Wire final : public Tap {
 public:
  explicit Wire(const int64_t& now) : now_(now) {}

  std::function<Life*(int member)> life_of;
  bool verbose = false;
  static constexpr size_t kOpensMost = 60;  // connections tried in a second
  static constexpr size_t kIdleMost = 100;  // requests a second that bring nothing

  void opens(int member) override {
    Life& life = *life_of(member);
    while (!life.opens.empty() && life.opens.front() <= now_ - 1000) life.opens.pop_front();
    life.opens.push_back(now_);
    if (life.opens.size() > kOpensMost) life.oracle->fault("it connects again and again");
  }
  void opened(int conn, int member, int node) override {
    Line& line = lines_[conn];
    line.life = life_of(member);
    line.node = node;
    line.member = member;
  }
  void offered(int conn) override {
    Line& line = lines_[conn];
    if (line.offered_at < 0) line.offered_at = line.life->clock();
  }
  void sent(int conn, const char* data, size_t size) override {
    Line& line = lines_[conn];
    line.up.append(data, size);
    std::string frame;
    while (take_frame(line.up, frame)) {
      request(line, frame);
      line.offered_at = line.up.empty() ? -1 : line.life->clock();
    }
  }
  void answered(int conn, const std::string& bytes) override {
    Line& line = lines_[conn];
    line.down += bytes;
    std::string frame;
    while (take_frame(line.down, frame)) {
      answer(line, frame);
      line.told += 4 + frame.size();
      line.ends.push_back(line.told);
    }
  }
  void read(int conn, size_t size) override {
    Line& line = lines_[conn];
    line.heard += size;
    while (!line.news.empty() && line.news.front().at <= line.heard) {
      const auto tell = std::move(line.news.front().tell);
      line.news.pop_front();
      tell();
    }
  }
  void broken(int conn, size_t passed) override {
    const Line& line = lines_[conn];
    const bool whole = std::find(line.ends.begin(), line.ends.end(), passed) != line.ends.end();
    if (passed != 0 && !whole) line.life->torn = true;
  }

 private:
  struct Request {
    minibroker::RequestHeader header;
    minibroker::ShareRequest share;
    bool is_share = false;
    bool useful = false;  // it carries acks
    bool counted = true;   // among those for nothing, until its answer shows that it was not
    int64_t asked = 0;    // on the member's clock
    std::vector<uint64_t> records;  // of each part: so many that were handed out are settled
  };
  struct News {
    size_t at;  // true once so many octets were read
    std::function<void()> tell;
  };
  struct Line {
    Life* life = nullptr;
    int member = -1;
    int node = -1;
    std::string up, down;
    std::deque<Request> asked;
    size_t told = 0;   // octets of complete answers
    std::vector<size_t> ends;  // of each
    size_t heard = 0;  // octets that the member has read
    std::deque<News> news;
    int64_t offered_at = -1;  // on the member's clock: the request that is leaving
    int64_t first_read = 0;  // on the member's clock: the first octet of the newest answer
  };
  using Parts = std::vector<minibroker::TopicPartition>;

  static bool take_frame(std::string& bytes, std::string& frame) {
    if (bytes.size() < 4) return false;
    const auto size = static_cast<size_t>(minibroker::Reader(bytes).i32());
    if (bytes.size() < 4 + size) return false;
    frame = bytes.substr(4, size);
    bytes.erase(0, 4 + size);
    return true;
  }
  static Place place_of(const minibroker::TopicPartition& tp, int64_t offset) {
    return Place{tp.first, tp.second, offset};
  }
  template <typename Each>
  static void each_ack(const minibroker::SharePart& part, const Each& each) {
    for (const minibroker::AckBatch& batch : part.acks) {
      for (int64_t o = batch.first; o <= batch.last; ++o) {
        const size_t at = batch.types.size() == 1 ? 0 : static_cast<size_t>(o - batch.first);
        each(place_of(part.tp, o), batch.types.at(at));
      }
    }
  }

  void request(Line& line, const std::string& frame) {
    minibroker::Reader in(frame);
    Request r;
    r.header = minibroker::decode_header(in);
    if (minibroker::flexible_request(r.header.key, r.header.version)) in.tags();
    r.is_share = r.header.key == minibroker::kShareFetch ||
                 r.header.key == minibroker::kShareAcknowledge;
    r.asked = line.offered_at;
    if (r.is_share) {
      r.share = r.header.key == minibroker::kShareFetch
                    ? minibroker::decode_share_fetch(in, r.header.version)
                    : minibroker::decode_share_acknowledge(in, r.header.version);
      Life& life = *line.life;
      r.useful = r.share.any_acks();
      if (r.useful && r.share.epoch == 0) life.oracle->fault("acknowledgements in epoch 0");
      for (const minibroker::SharePart& part : r.share.parts) {
        r.records.push_back(0);
        each_ack(part, [&](const Place& place, int8_t type) {
          // However slowly they are made, and however the broker likes them: one for each record.
          if (life.oracle->first_ack(place, type)) r.counted = false;
          const bool seen = life.oracle->ack_sent(life.id, line.node, place, type,
                                                  line.offered_at, life.slot_bytes);
          r.records.back() += seen ? 1u : 0u;
        });
      }
    }
    if (verbose) print(line, r);
    ++line.life->requests;
    if (r.counted) idle(*line.life, line.life->idle);
    line.asked.push_back(std::move(r));
  }
  void print(const Line& line, const Request& r) const {
    std::printf("%7lld  member %d -> node %d: api %d", static_cast<long long>(now_), line.member,
                line.node, r.header.key);
    if (r.is_share) {
      std::printf(", epoch %d, wait %d ms, records %d", r.share.epoch, r.share.max_wait_ms,
                  r.share.max_records);
      for (const minibroker::SharePart& part : r.share.parts) {
        std::printf(" [%d]", part.tp.second);
        for (const minibroker::AckBatch& b : part.acks) {
          std::printf(" %lld-%lld:%d", static_cast<long long>(b.first),
                      static_cast<long long>(b.last), b.types.front());
        }
      }
      for (const minibroker::TopicPartition& tp : r.share.forgotten) {
        std::printf(" -[%d]", tp.second);
      }
    }
    std::printf("\n");
  }
  // A request counts until its answer brings records, or settles some.
  void idle(Life& life, std::deque<int64_t>& times) {
    while (!times.empty() && times.front() <= now_ - 1000) times.pop_front();
    times.push_back(now_);
    if (times.size() > kIdleMost) {
      life.oracle->fault("more than " + std::to_string(kIdleMost) + " requests for nothing in 1 s");
    }
  }

  static void was_for_something(Line& line, const Request& r) {
    if (r.counted && !line.life->idle.empty()) line.life->idle.pop_back();
  }

  void answer(Line& line, const std::string& frame) {
    minibroker::Reader in(frame);
    const int32_t correlation = in.i32();
    while (!line.asked.empty() && line.asked.front().header.correlation != correlation) {
      line.asked.pop_front();
    }
    if (line.asked.empty()) return;
    const Request r = std::move(line.asked.front());
    line.asked.pop_front();
    if (verbose) {
      std::printf("%7lld  member %d <- node %d: answer to api %d, %zu octets\n",
                  static_cast<long long>(now_), line.member, line.node, r.header.key, frame.size());
    }
    if (!r.is_share) {
      if (r.header.key == minibroker::kFetch && frame.size() > 200) {  // records read again
        was_for_something(line, r);
        idle(*line.life, line.life->rereads);
      }
      return;
    }
    in.tags();
    Line* its = &line;
    line.news.push_back({line.told + 1, [its] { its->first_read = its->life->clock(); }});
    if (r.header.key == minibroker::kShareFetch) fetched(line, r, in, frame.size());
    else acknowledged(line, r, in, frame.size());
  }
  void fetched(Line& line, const Request& r, minibroker::Reader& in, size_t size) {
    in.i32();
    const int16_t top = in.i16();
    in.nullable_string(true);
    const int64_t lock_ms = in.i32();
    bool any = false;
    for (int64_t t = in.array(true); t > 0 && in.ok(); --t) {
      const Uuid id = in.uuid();
      for (int64_t p = in.array(true); p > 0 && in.ok(); --p) {
        any = part_fetched(line, r, in, id, size, lock_ms) || any;
      }
      in.tags();
    }
    if (!any && top == 0 && line.life->oracle->skipped > 0) {
      --line.life->oracle->skipped;
      any = true;
    }
    if (any) was_for_something(line, r);
    if (top != 0) refused(line, r, top, size);
  }
  bool part_fetched(Line& line, const Request& r, minibroker::Reader& in, const Uuid& id,
                    size_t size, int64_t lock_ms) {
    const minibroker::TopicPartition tp{id, in.i32()};
    in.i16();
    in.nullable_string(true);
    const int16_t ack_error = in.i16();
    in.nullable_string(true);
    in.i32();
    in.i32();
    in.tags();
    Line* its = &line;
    line.news.push_back({line.told + 4 + size - in.left(),
                         [=] { result(*its, r, tp, ack_error, lock_ms); }});
    in.nullable_string(true);
    const int64_t ranges = in.array(true);
    for (int64_t n = ranges; n > 0 && in.ok(); --n) {
      minibroker::Acquired a{};
      a.first = in.i64();
      a.last = in.i64();
      a.count = in.i16();
      in.tags();
      line.news.push_back({line.told + 4 + size - in.left(), [=] {
        its->life->oracle->acquired(its->life->id, its->node, place_of(tp, a.first), a.last,
                                    a.count, its->life->clock(), r.asked, its->first_read, lock_ms);
      }});
    }
    in.tags();
    return ranges > 0 || (r.useful && ack_error == 0);
  }
  void acknowledged(Line& line, const Request& r, minibroker::Reader& in, size_t size) {
    in.i32();
    const int16_t top = in.i16();
    in.nullable_string(true);
    const int64_t lock_ms = r.header.version >= 2 ? in.i32() : 0;
    bool any = false;
    for (int64_t t = in.array(true); t > 0 && in.ok(); --t) {
      const Uuid id = in.uuid();
      for (int64_t p = in.array(true); p > 0 && in.ok(); --p) {
        const minibroker::TopicPartition tp{id, in.i32()};
        const int16_t error = in.i16();
        in.nullable_string(true);
        in.i32();
        in.i32();
        in.tags();
        any = any || error == 0;
        Line* its = &line;  // told behind CurrentLeader: what follows may come later
        line.news.push_back({line.told + 4 + size - in.left(),
                             [=] { result(*its, r, tp, error, lock_ms); }});
        in.tags();
      }
      in.tags();
    }
    if (any && top == 0) was_for_something(line, r);
    if (top != 0) refused(line, r, top, size);
  }
  // The outcome of what was acknowledged of one partition.
  static void result(Line& line, const Request& r, const minibroker::TopicPartition& tp,
                     int16_t error, int64_t lock_ms) {
    Life& life = *line.life;
    for (size_t i = 0; i < r.share.parts.size(); ++i) {
      const minibroker::SharePart& part = r.share.parts[i];
      if (part.tp != tp) continue;
      if (error == 0) life.acks_ok += r.records[i];
      each_ack(part, [&](const Place& place, int8_t type) {
        life.oracle->ack_answered(life.id, place, type, 0, error);
        if (type == minibroker::kRenew && error == 0 && lock_ms > 0) {
          life.oracle->renewed(life.id, place, r.asked, line.first_read);
        }
      });
    }
  }
  void refused(Line& line, const Request& r, int16_t top, size_t size) {
    Line* its = &line;
    line.news.push_back({line.told + 4 + size, [=] {
      for (const minibroker::SharePart& part : r.share.parts) {
        each_ack(part, [&](const Place& place, int8_t type) {
          its->life->oracle->ack_answered(its->life->id, place, type, top, 0);
        });
      }
    }});
  }

  const int64_t& now_;
  std::map<int, Line> lines_;
};

}  // namespace sim

#endif  // KSHARE_SIM_WIRE_HPP
