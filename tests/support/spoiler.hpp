// SPDX-License-Identifier: Apache-2.0
// What:        a World whose broker is honest but for chosen answers, which are spoilt on the way.
// Flow:        minibroker -> Spoiler (one change to the frame) -> the consumer.
// Memory:      the tests' own.
// Valid until: the Spoiler must outlive its World's members.
// Errors:      live() answers what went wrong, null if nothing did.
#ifndef KSHARE_TESTS_SPOILER_HPP
#define KSHARE_TESTS_SPOILER_HPP

#include <string>
#include <vector>

#include "invariants.hpp"
#include "world.hpp"

namespace spoiler {

enum class How : uint8_t {
  keep,    // nothing
  change,  // octet `at` ^ `value`
  end,     // only `at` octets come
  cut,     // the frame is `at` octets long and says so
  insert,  // octet `value` before octet `at`
  drop,    // octet `at` is missing; the frame's size is not changed
  lose,    // no answer at all
};

struct Change {
  How how = How::keep;
  uint32_t at = 0;
  uint8_t value = 0;
};

inline void set_size(std::string& frame, size_t size) {
  for (int i = 0; i < 4; ++i) {
    frame[static_cast<size_t>(i)] = static_cast<char>((size >> (24 - 8 * i)) & 0xFFu);
  }
}

// False: the frame is lost.
inline bool spoil(const Change& change, std::string& frame) {
  const size_t at = change.at % frame.size();
  switch (change.how) {
    case How::keep: break;
    case How::change: frame[at] = static_cast<char>(frame[at] ^ change.value); break;
    case How::end: frame.resize(at); break;
    case How::cut:
      if (at < 4) break;
      frame.resize(at);
      set_size(frame, at - 4);
      break;
    case How::insert: frame.insert(at, 1, static_cast<char>(change.value)); break;
    case How::drop: frame.erase(at, 1); break;
    case How::lose: return false;
  }
  return true;
}

inline std::vector<minibroker::Rec> records(int count) {
  std::vector<minibroker::Rec> all(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    minibroker::Rec& rec = all[static_cast<size_t>(i)];
    rec.value =
        std::string(static_cast<size_t>(10 + 170 * (i % 3)), static_cast<char>('a' + i % 26));
    if (i % 2 == 0) rec.key = "key";
    if (i % 4 == 0) rec.headers.push_back({"h", "v"});
  }
  return all;
}

// A conversation in which every API occurs, Fetch too: a batch larger than a store slot.
class Talk {
 public:
  static constexpr int kRecords = 24;

  // The `nth` answer of `api` is spoilt.
  Talk(int api, int nth, const Change& change) : api_(api), nth_(nth), change_(change) {
    w.broker.add_topic("t", 2);
    w.broker.append("t", 0, records(kRecords - 4));
    w.broker.append("t", 1, records(4));
    w.broker.on_response = [this](int key, std::string& frame) {
      if (key != api_ || nth_-- != 0) return true;
      original = frame;
      spoilt = true;
      return spoil(change_, frame);
    };
    w.join(m);
  }

  // Lives on until every record was handed out and settled, then closes; or until the consumer has
  // failed for good.
  const char* live() {
    if (!m.start({"t"}).ok()) return "start";
    bool done = w.run_until([this] { return is_over(); }, 200000);
    if (!done && api_ == minibroker::kShareGroupHeartbeat) {
      // A wrong assignment is as good as a right one, until the coordinator tells it all again.
      static_cast<void>(m.consumer().subscribe({"t"}));
      done = w.run_until([this] { return is_over(); }, 60000);
    }
    if (broken != nullptr) return broken;
    if (fatal()) return nullptr;
    if (!done) return "it does not go on";
    if (!w.close(m)) return "it does not close";
    if (w.broker.requests_total() > 2000) return "too many requests";
    return invariants::broken_invariant(m.consumer().engine().tables());
  }
  bool fatal() { return m.consumer().engine().shared().failed(); }

  world::World w;
  world::Member<> m;
  std::string original;
  bool spoilt = false;
  const char* broken = nullptr;

 private:
  bool is_over() {
    if (broken == nullptr) broken = invariants::broken_invariant(m.consumer().engine().tables());
    if (broken != nullptr || m.consumer().engine().shared().failed()) return true;
    if (!spoilt && api_ != minibroker::kShareAcknowledge) return false;  // that ends a session
    return w.broker.start_offset("group", "t", 0) == kRecords - 4 &&
           w.broker.start_offset("group", "t", 1) == 4;
  }

  int api_;
  int nth_;
  Change change_;
};

}  // namespace spoiler

#endif  // KSHARE_TESTS_SPOILER_HPP
