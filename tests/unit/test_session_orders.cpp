// SPDX-License-Identifier: Apache-2.0
// core/session.hpp: every order of events up to a depth, against what a broker keeps of a session
// and a list of acks. States seen are not looked at again; from each of the last ones the session
// must come to rest with the right partitions in it and every ack answered.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <unordered_map>

#include "../support/explorer.hpp"
#include "../support/scenario.hpp"
#include "../support/small_tables.hpp"

namespace test_session_orders {
namespace {

using kshare::Ack;
using kshare::AckKind;
using kshare::FetchSize;
using kshare::Instant;
using kshare::kNoRow;
using kshare::PartitionRow;
using kshare::Session;
using kshare::Tables;
using minibroker::ShareRequest;

constexpr uint32_t kLink = 1;
constexpr uint32_t kOtherBit = 1u << 2;  // the session of another link has partition 1 as well
constexpr int32_t kNode = 4;
constexpr int kPartitions = 3;  // two of one topic, one of another
constexpr int64_t kLockMs = 1000;

enum class Out : uint8_t { nothing, fetch, acknowledge, final };
enum class Answer : uint8_t { ok, acks_refused, acks_again, session_lost, error, connection_lost };

struct Mark {  // an acknowledgement of one offset
  int64_t offset = 0;
  int partition = 0;
  int64_t late_at = 0;
  bool flying = false;
  bool doubtful = false;  // acquired over a connection that is gone
};
struct Model {
  bool assigned[kPartitions] = {};
  bool led = true;         // partition 1, by our broker
  bool backs_off = false;  // partition 0
  Out out = Out::nothing;
  int32_t epoch = 0;        // of the next request
  std::set<int> at_broker;  // in the session, as the broker has it
  std::vector<Mark> marks;
  int64_t offsets = 0;
  int64_t now = 1000;
};

// The word in which two sessions differ whose epochs differ: so that no test need send two thousand
// million requests.
void set_epoch(Session& session, int32_t epoch) {
  static_assert(std::is_trivially_copyable<Session>::value, "a few plain numbers");
  SmallTables small;
  small.attach(1, 1);
  Session a;
  a.succeeded(small.tables);
  Session b = a;
  b.succeeded(small.tables);
  unsigned char at_a[sizeof a];
  unsigned char at_b[sizeof b];
  std::memcpy(at_a, &a, sizeof a);
  std::memcpy(at_b, &b, sizeof b);
  size_t at = 0;
  while (at_a[at] == at_b[at]) ++at;
  at -= at % sizeof epoch;
  std::memcpy(at_a, &session, sizeof session);
  std::memcpy(at_a + at, &epoch, sizeof epoch);
  std::memcpy(&session, at_a, sizeof session);
}

struct Machine : Explorer {
  explicit Machine(uint32_t window_bytes) : window(window_bytes) {}

  uint32_t window;
  SmallTables small;
  Session session;
  Model model;
  std::unordered_map<std::string, int> seen;
  uint64_t ends = 0;
  uint64_t wraps = 0;
  Tables& t = small.tables;

  // ---- Which partition is meant.
  static kshare::Uuid topic_of(int p) {
    return scenario::to_uuid(scenario::uuid_of(p < 2 ? 1 : 2));
  }
  static int32_t index_of(int p) { return p == 1 ? 1 : 0; }
  uint32_t row_of(int p) const { return t.topology.find_partition(topic_of(p), index_of(p)); }
  static int partition_of(const minibroker::TopicPartition& tp) {
    return tp.first == scenario::uuid_of(1) ? tp.second : 2;
  }
  bool wanted(int p) const {
    return model.assigned[p] && (p != 1 || model.led) && (p != 0 || !model.backs_off);
  }
  std::set<int> all_wanted() const {
    std::set<int> all;
    for (int p = 0; p < kPartitions; ++p) {
      if (wanted(p)) all.insert(p);
    }
    return all;
  }
  Instant now() const { return Instant{model.now}; }
  int kind_of(const Mark& mark) const {
    return mark.doubtful ? 2 : model.now < mark.late_at ? 1 : 0;
  }

  void begin() {
    small.attach(SmallTables::kLots, SmallTables::kAcks);
    session.attach(kLink);
    model.assigned[0] = model.assigned[1] = true;
    tell_rows();
    t.topology.partition(row_of(1)).sessions = kOtherBit;
  }
  void tell_rows() {
    t.topology.begin_assignment();
    for (int p = 0; p < kPartitions; ++p) {
      if (model.assigned[p] && !t.topology.assign(topic_of(p), index_of(p))) fault("assign");
    }
    static_cast<void>(t.topology.end_assignment());
    for (int p = 0; p < kPartitions; ++p) {
      if (row_of(p) == kNoRow) continue;
      PartitionRow& row = t.topology.partition(row_of(p));
      row.leader = p == 1 && !model.led ? kNode + 1 : kNode;
      row.retry_at = Instant{p == 0 && model.backs_off ? INT64_MAX : 0};
    }
  }

  // ---- Requests, as a broker reads them.
  void see_acks(const minibroker::SharePart& part, int p) {
    int kind = 3;
    for (const Mark& mark : model.marks) {
      if (mark.partition == p && !mark.flying) kind = std::min(kind, kind_of(mark));
    }
    for (const auto& batch : part.acks) {
      for (int64_t at = batch.first; at <= batch.last; ++at) {
        Mark* its = nullptr;
        for (Mark& mark : model.marks) {
          if (mark.offset == at && mark.partition == p && !mark.flying) its = &mark;
        }
        if (its == nullptr) {
          fault("an ack that is not waiting");
          continue;
        }
        if (kind != kind_of(*its)) fault("others with these acks, or before them");
        its->flying = true;
      }
    }
  }
  void see(const ShareRequest& q, bool final) {
    if (q.epoch != (final ? -1 : model.epoch)) fault("epoch");
    if (q.epoch == 0 && q.any_acks()) fault("acks in epoch 0");
    std::set<int> listed;
    std::set<int> forgotten;
    std::set<int> next = q.epoch == 0 ? std::set<int>{} : model.at_broker;
    for (const auto& part : q.parts) {
      const int p = partition_of(part.tp);
      if (!listed.insert(p).second) fault("listed twice");
      if (part.acks.empty() && (!wanted(p) || next.count(p) != 0)) fault("listed for nothing");
      see_acks(part, p);
      if (q.is_fetch) next.insert(p);
    }
    for (const auto& tp : q.forgotten) {
      const int p = partition_of(tp);
      if (!forgotten.insert(p).second) fault("forgotten twice");
      if (next.erase(p) == 0) fault("forgotten, and not in the session");
      if (wanted(p)) fault("forgotten though wanted");
    }
    model.at_broker = next;
    const bool roomy = window > 300;
    if (q.is_fetch && roomy && next != all_wanted()) fault("the session's partitions");
    if (q.epoch != 0 && roomy) {
      for (const Mark& mark : model.marks) {
        if (!mark.flying && listed.count(mark.partition) == 0) fault("an ack stays behind");
      }
    }
  }
  ShareRequest fetch(bool acquires) {
    std::vector<uint8_t> bytes(window);
    kshare::Writer out{bytes.data(), window};
    const FetchSize size = acquires ? FetchSize{500, 2048, 10, false} : FetchSize{};
    session.encode_fetch(out, 2, t, kNode, size, now());
    if (!out.ok()) fault("no room");
    minibroker::Reader in(bytes.data(), out.size());
    const ShareRequest q = minibroker::decode_share_fetch(in, 2);
    if (!in.done()) fault("unreadable");
    if (!acquires && (q.max_records != 0 || q.max_wait_ms != 0)) fault("asks for records");
    return q;
  }
  bool send_fetch(bool acquires) {
    if (model.out != Out::nothing) return false;
    see(fetch(acquires), false);
    model.out = Out::fetch;
    return true;
  }
  bool send_acknowledge(bool final) {
    const bool acks = session.has_acks(t, AckKind::terminal, now());
    if (model.out != Out::nothing || !session.is_open() || (!final && !acks)) return false;
    std::vector<uint8_t> bytes(window);
    kshare::Writer out{bytes.data(), window};
    session.encode_acknowledge(out, 2, t, AckKind::terminal, final, now());
    if (!out.ok()) fault("no room");
    if (session.epoch_sent() != (final ? -1 : model.epoch)) fault("epoch_sent");
    minibroker::Reader in(bytes.data(), out.size());
    see(minibroker::decode_share_acknowledge(in, 2), final);
    if (!in.done()) fault("unreadable");
    model.out = final ? Out::final : Out::acknowledge;
    return true;
  }

  // ---- Answers, and what core/intake.hpp and core/leaders.hpp do with them.
  void settle(int16_t error) {
    for (uint32_t row = 0; row < t.topology.partition_count(); ++row) {
      t.resolve(row, kLink, error, now());
    }
    const bool again = kshare::kafka::ack_may_be_retried(error);
    for (size_t i = 0; i < model.marks.size();) {
      Mark& mark = model.marks[i];
      if (mark.flying && !again) {
        model.marks.erase(model.marks.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      mark.flying = false;
      ++i;
    }
  }
  void end_session() {
    model.epoch = 0;
    model.at_broker.clear();
  }
  bool answer(Answer what) {
    if (model.out == Out::nothing) return false;
    const bool final = model.out == Out::final;
    model.out = Out::nothing;
    switch (what) {
      case Answer::ok:
      case Answer::acks_refused:
      case Answer::acks_again:
        settle(what == Answer::ok           ? int16_t{0}
               : what == Answer::acks_again ? int16_t{7}
                                            : int16_t{121});
        session.succeeded(t);
        wraps += model.epoch == INT32_MAX;
        model.epoch = model.epoch == INT32_MAX ? 1 : model.epoch + 1;
        if (final) end_session();
        return true;
      case Answer::session_lost:
        for (uint32_t row = 0; row < t.topology.partition_count(); ++row) {
          t.return_to_pending(row, kLink, now());
        }
        for (Mark& mark : model.marks) mark.flying = false;
        break;
      case Answer::error:
        settle(56);
        break;
      case Answer::connection_lost:
        return lose_connection();
    }
    session.failed(t, now());
    if (session.retry_at() <= now()) fault("no back-off");
    end_session();
    return true;
  }
  bool lose_connection() {
    model.out = Out::nothing;
    t.connection_lost(kLink, kNode);
    session.ended(t);
    for (size_t i = 0; i < model.marks.size();) {
      if (model.marks[i].flying) {
        model.marks.erase(model.marks.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      model.marks[i++].doubtful = true;
    }
    end_session();
    return true;
  }

  // ---- Other events.
  bool acknowledge(int p) {
    if (row_of(p) == kNoRow || t.lots.free_count() == 0 || t.acks.free_count() == 0) return false;
    Mark mark;
    mark.offset = 10 * ++model.offsets;
    mark.partition = p;
    mark.late_at = model.now + kLockMs;
    const uint32_t lot = t.lots.add(row_of(p), kLink, mark.offset, mark.offset);
    t.lots[lot].lock_min = Instant{mark.late_at};
    t.lots[lot].lock_max = kshare::kNever;
    int64_t at = mark.offset;
    static_cast<void>(t.acks.settle_range(lot, at, at, static_cast<uint8_t>(Ack::accept)));
    t.lots[lot].cursor = t.lots[lot].walked = at;
    model.marks.push_back(mark);
    return true;
  }
  bool toggle(bool& what) {
    what = !what;
    tell_rows();
    return true;
  }
  // Shortly before the largest epoch.
  bool grow_old() {
    if (model.out != Out::nothing || model.epoch == 0 || model.epoch > 100) return false;
    model.epoch = INT32_MAX - 1;
    set_epoch(session, model.epoch);
    return true;
  }

  bool apply(int event) {
    switch (event) {
      case 0:
      case 1:
      case 2:
        return toggle(model.assigned[event]);
      case 3:
        return toggle(model.led);
      case 4:
        return toggle(model.backs_off);
      case 5:
        return acknowledge(0);
      case 6:
        return acknowledge(2);
      case 7:
        return send_fetch(true);
      case 8:
        return send_fetch(false);
      case 9:
        return send_acknowledge(false);
      case 10:
        return send_acknowledge(true);
      case 11:
        return answer(Answer::ok);
      case 12:
        return answer(Answer::acks_refused);
      case 13:
        return answer(Answer::acks_again);
      case 14:
        return answer(Answer::session_lost);
      case 15:
        return answer(Answer::error);
      case 16:
        return lose_connection();
      case 17:  // locks may be gone
        model.now += kLockMs;
        return true;
      case 18:
        return grow_old();
      default:
        return false;
    }
  }
  static constexpr int kEvents = 19;

  // ---- What must be true after each.
  void check() {
    if (session.epoch() != model.epoch) fault("epoch kept");
    if (session.is_open() != (model.epoch > 0)) fault("is_open");
    uint32_t waiting = 0;
    for (const Mark& mark : model.marks) waiting += mark.flying ? 0 : 1;
    if (t.acks.pending() != waiting) fault("pending");
    if (t.acks.used() != model.marks.size()) fault("acks");
    if (session.has_acks(t, AckKind::terminal, now()) != (waiting != 0)) fault("has_acks");
    if (session.has_partitions(t, kNode, now()) == all_wanted().empty()) fault("has_partitions");
    bool to_forget = false;
    for (int p : model.at_broker) to_forget = to_forget || !wanted(p);
    if (session.has_to_forget(t, kNode, now()) != to_forget) fault("has_to_forget");
    for (int p = 0; p < kPartitions; ++p) {
      const bool has_row = row_of(p) != kNoRow;
      const bool in = has_row && session.contains(t.topology.partition(row_of(p)));
      if (in != (model.at_broker.count(p) != 0)) fault("what is in the session");
      if (has_row && t.topology.partition(row_of(p)).ack_listed) fault("ack_listed");
    }
    if (row_of(1) == kNoRow || (t.topology.partition(row_of(1)).sessions & kOtherBit) == 0) {
      fault("the session of another link");
    }
  }

  // Left in peace, the session comes to rest.
  void end() {
    ++ends;
    for (int round = 0; round < 16; ++round) {
      path.push_back(model.out == Out::nothing ? 7 : 11);
      static_cast<void>(apply(path.back()));
      check();
      path.pop_back();
    }
    if (model.at_broker != all_wanted()) fault("the session never has its partitions");
    if (!model.marks.empty()) fault("an ack is never answered");
  }

  // All that decides what may happen from here.
  std::string key() const {
    std::string text;
    const auto put = [&](auto value) { text += static_cast<char>(value); };
    for (int p = 0; p < kPartitions; ++p) {
      put(model.assigned[p] + 2 * static_cast<int>(model.at_broker.count(p)));
      put(row_of(p));
    }
    put(model.led + 2 * model.backs_off + 4 * static_cast<int>(model.out));
    put(model.epoch == 0 ? 0 : model.epoch < 100 ? 1 : INT32_MAX - model.epoch + 2);
    for (const Mark& mark : model.marks) {
      put(mark.partition);
      put(mark.flying + 2 * kind_of(mark));
    }
    return text;
  }
  void explore(int depth) {
    int& left = seen[key()];
    if (left > depth) return;
    left = depth + 1;
    const SmallTables small_before = small;
    const Session session_before = session;
    const Model model_before = model;
    const auto back = [&] {
      small = small_before;
      session = session_before;
      model = model_before;
    };
    if (depth == 0) {
      end();
      return back();
    }
    const auto go_on = [&](int) {
      check();
      explore(depth - 1);
    };
    try_each(kEvents, [&](int event) { return apply(event); }, go_on, back);
  }
};

void explore(uint32_t window, int depth) {
  Machine machine(window);
  machine.begin();
  machine.check();
  machine.explore(depth);
  CHECK(machine.steps > 10000);
  CHECK(machine.ends > 1000);
  CHECK(machine.wraps > 0);
  CHECK(machine.faults == 0);
}

}  // namespace

TEST_CASE(
    "every order of assignments, acks, requests and answers: epochs are legal, epoch 0 has no "
    "acks, "
    "each partition is listed once and forgotten once, each ack has one answer") {
  explore(512, 7);
}

TEST_CASE("every order of the same through a window that holds one partition at a time") {
  explore(130, 7);
}

}  // namespace test_session_orders
