// SPDX-License-Identifier: Apache-2.0
// What:        the oracle of one group: it knows every record there is, who has it, what was said
//              about it and what went over the wire, and says when something is wrong.
// Flow:        producer, wire (wire.hpp), members (member.hpp) -> Oracle -> wrong().
// Memory:      one Fact a record, one Holding a record and member that has it.
// Valid until: times given as `now` are those of the world, as `clock` those of the member.
// Errors:      the first thing that is wrong stays; what comes behind it may follow from it.
#ifndef KSHARE_SIM_ORACLE_HPP
#define KSHARE_SIM_ORACLE_HPP

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "../broker/broker.hpp"
#include "dice.hpp"
#include "kshare/record/record.hpp"

namespace sim {

using minibroker::Uuid;
using Place = std::tuple<Uuid, int32_t, int64_t>;  // topic, partition, offset

// What the world knows of an offset.
struct Fact {
  bool data = false;      // a record that somebody must see
  bool corrupt = false;   // in a batch whose CRC is wrong
  bool aborted = false;   // only for groups that read uncommitted
  bool gone = false;      // deleted with its topic, by delete-records, or compacted
  bool refused = false;   // rejected by somebody who cannot hold it
  uint32_t bytes = 0;     // of its value
  uint64_t tag = 0;       // its value begins with it
  int64_t made_at = 0;
  int handed = 0;
  bool acked = false;     // a terminal acknowledgement of it was sent
  // The last time that it was handed out.
  int64_t handed_at = 0;
  int64_t said_at = kNotSaid;
  uint8_t said = 0;       // an Ack that the member was allowed to send; 0: none
  int64_t lock_end = 0;   // of the world, at the earliest, renewals included
  uint64_t life = 0;
  std::vector<int64_t> locked_at;  // by a broker, each time
  // The last time that a member was told to have it.
  int64_t told_at = -1;
  bool answered_for = true;  // handed out or acknowledged since
  static constexpr int64_t kNotSaid = -1;
};

// A record that a member has acquired, as far as the member can know.
struct Holding {
  int node = -1;
  int16_t count = 0;
  int64_t lock_ms = 0;
  int64_t lock_min = 0;  // its end on the member's clock, at the earliest
  int64_t lock_end = 0;  // and at the latest
  int64_t since = 0;     // on the member's clock
  int node_before = -1;  // that it was acquired from the last time
  bool handed = false;
  uint8_t said = 0;
  enum class Sent : uint8_t { no, once, ok, again, failed } sent = Sent::no;
};

class Oracle {
 public:
  static constexpr int64_t kMarginMs = 100;  // lock.margin.ms
  static constexpr uint32_t kRecordBytes = 100;  // of a record beside its value, at most

  using Sent = Holding::Sent;

  explicit Oracle(const int64_t& now) : now_(now) {}

  bool read_committed = false;
  int delivery_limit = 5;
  int64_t lock_ms = 0;
  uint32_t slot_bytes = UINT32_MAX;  // of the member with the smallest
  bool prompt = true;       // all applications take what there is at once
  bool gives_back = false;  // some application is too slow for its locks, and cannot renew them
  bool calm = true;  // nothing at all happens that could make a record come twice
  uint64_t handed = 0;
  int64_t skipped = 0;  // aborted offsets that brokers have passed over, an answer each at most

  const std::string& wrong() const { return wrong_; }
  void fault(const std::string& what) {
    if (wrong_.empty()) wrong_ = "at " + std::to_string(now_) + " ms: " + what;
  }
  // From now until `until` something is going on that can make a record come twice, or be acquired
  // for nothing: any record, or those of a partition, or those that a member has.
  struct Trouble {
    int64_t from, until;
    int member;  // -1: of any
    Uuid topic;  // with `partition` -1: any
    int32_t partition;
  };
  void disturb(int64_t until, int member = -1, const Uuid& topic = {}, int32_t partition = -1) {
    troubles_.push_back({now_, until, member, topic, partition});
    calm = false;
  }
  bool disturbed_between(int64_t from, int64_t to, const Place& place, int member) const {
    for (const Trouble& t : troubles_) {
      if (t.from > to || t.until < from || (t.member >= 0 && member >= 0 && t.member != member)) {
        continue;
      }
      if (t.partition < 0) return true;
      if (t.topic == std::get<0>(place) && t.partition == std::get<1>(place)) return true;
    }
    return false;
  }
  static int member_of(uint64_t life) { return static_cast<int>(life >> 32); }

  // The broker has locked it for a member, whether that is told or not.
  void locked(const Uuid& topic, int32_t partition, int64_t first, int64_t last) {
    for (int64_t o = first; o <= last; ++o) fact(topic, partition, o).locked_at.push_back(now_);
  }

  // --- the log

  Fact& fact(const Uuid& topic, int32_t partition, int64_t offset) {
    std::vector<Fact>& all = facts_[{topic, partition}];
    if (all.size() <= static_cast<size_t>(offset)) all.resize(static_cast<size_t>(offset) + 1);
    return all[static_cast<size_t>(offset)];
  }
  void forget(const Uuid& topic, int32_t partition, int64_t first, int64_t last) {
    std::vector<Fact>& all = facts_[{topic, partition}];
    last = std::min(last, static_cast<int64_t>(all.size()) - 1);
    for (int64_t o = first; o <= last; ++o) all[static_cast<size_t>(o)].gone = true;
  }
  void forget_topic(const Uuid& topic) {
    for (auto& entry : facts_) {
      if (entry.first.first != topic) continue;
      for (Fact& f : entry.second) f.gone = true;
    }
  }

  // Those that nobody was given yet.
  template <typename Each>
  void each_waiting(const Uuid& topic, int32_t partition, const Each& each) const {
    const auto all = facts_.find({topic, partition});
    if (all == facts_.end()) return;
    for (const Fact& f : all->second) {
      if (f.data && !f.gone && f.handed == 0) each(f);
    }
  }

  // --- what a member can know (life: one from start to end of a consumer)

  // `asked`, `told`: when the request left, and when its answer began to come.
  void acquired(uint64_t life, int node, const Place& first, int64_t last, int16_t count,
                int64_t clock, int64_t asked, int64_t told, int64_t its_lock_ms) {
    for (int64_t o = std::get<2>(first); o <= last; ++o) {
      Place place = first;
      std::get<2>(place) = o;
      Holding& h = holdings_[life][place];
      const int node_before = h.node;
      check_answered_for(place);
      Fact& f = fact_of(place);
      f.told_at = now_;
      f.answered_for = false;
      h = Holding();
      h.node = node;
      h.node_before = node_before;
      h.since = clock;
      h.count = count;
      h.lock_ms = its_lock_ms;
      h.lock_min = asked + its_lock_ms;
      h.lock_end = told + its_lock_ms;
    }
  }
  void renewed(uint64_t life, const Place& place, int64_t asked, int64_t told) {
    Holding* h = find(life, place);
    if (h == nullptr) return;
    const int64_t more = asked + h->lock_ms - h->lock_min;
    h->lock_min += more;
    h->lock_end = told + h->lock_ms;
    Fact& f = fact_of(place);
    // What was acknowledged while its renewal was on the way may be counted by the old lock.
    if (h->handed && f.life == life && f.said == 0) f.lock_end += more;
  }
  void end_life(uint64_t life) { holdings_.erase(life); }

  // --- what the application sees and says

  void hand_out(uint64_t life, const kshare::Record& r, int64_t clock, const std::string& topic) {
    ++handed;
    const Place place = place_of(r);
    const std::string where = name(place) + ": ";
    Holding* h = find(life, place);
    if (h == nullptr) return fault(where + "handed out, but not acquired");
    if (h->handed) return fault(where + "handed out twice for one acquisition");
    if (h->sent != Sent::no) return fault(where + "handed out when its ack had been sent");
    if (h->count != r.delivery_count) return fault(where + "wrong delivery count");
    if (clock >= h->lock_min - std::min(kMarginMs, h->lock_ms / 4)) {
      return fault(where + "handed out too late to be worked on");
    }
    if (std::string(r.topic) != topic) return fault(where + "wrong topic name");
    Fact& f = fact_of(place);
    if (!f.data) return fault(where + "handed out, but there is no such record");
    if (f.corrupt) return fault(where + "handed out of a damaged batch");
    if (f.aborted && read_committed) return fault(where + "handed out, but aborted");
    if (!tag_fits(f, r)) return fault(where + "its value is another's");
    h->handed = f.answered_for = true;
    check_again(f, *h, place, life);
    ++f.handed;
    f.handed_at = now_;
    f.said_at = Fact::kNotSaid;
    f.said = 0;
    f.lock_end = now_ + (h->lock_min - clock);
    f.life = life;
  }
  // Nobody else has it by now, as far as the member can know.
  bool has(uint64_t life, const Place& place) {
    const Holding* h = find(life, place);
    return h != nullptr && h->handed;
  }
  // The application's word was taken; it may be sent from now on. Not `soon`: the application may
  // do something else for long before it polls again.
  void said(uint64_t life, const Place& place, uint8_t ack, bool soon) {
    Holding* h = find(life, place);
    if (h == nullptr || !h->handed) return fault(name(place) + ": a void handle was honoured");
    h->said = ack;
    Fact& f = fact_of(place);
    if (f.life != life) return;
    f.said = ack;
    f.said_at = soon ? now_ : kNever;
  }

  // --- what goes over the wire

  // True if nobody of the group has settled it before; now somebody has.
  bool first_ack(const Place& place, int8_t type) {
    if (type == minibroker::kRenew) return false;
    Fact& f = fact_of(place);
    const bool first = !f.acked;
    f.acked = true;
    return first;
  }
  // One offset of an acknowledgement leaves a member for `node`; `clock`: when it was made ready.
  // True if it settles a record that was handed out.
  bool ack_sent(uint64_t life, int node, const Place& place, int8_t type, int64_t clock,
                uint32_t its_slot_bytes) {
    const Holding* h = find(life, place);
    const bool handed_out = h != nullptr && h->handed && type != minibroker::kRenew;
    check_ack(life, node, place, type, clock, its_slot_bytes);
    return handed_out;
  }
  // The answer has come. `top`: of the request; `error`: of its partition.
  void ack_answered(uint64_t life, const Place& place, int8_t type, int16_t top, int16_t error) {
    Holding* h = find(life, place);
    if (h == nullptr || type == minibroker::kRenew || h->sent != Sent::once) return;
    const bool retriable = error == 7 || error == 14 || error == 15 || error == 16;
    const bool again = (top != 0 && top != -1) || retriable;  // -1: the broker may have applied it
    h->sent = again ? Sent::again : top != 0 || error != 0 ? Sent::failed : Sent::ok;
  }

  // --- the end: every record was handed out, or is gone for a reason.
  void check_end(const std::function<bool(const Place&)>& settled) {
    for (auto& entry : facts_) {
      for (size_t i = 0; i < entry.second.size(); ++i) {
        const Fact& f = entry.second[i];
        if (!f.data || f.gone) continue;
        const Place place{entry.first.first, entry.first.second, static_cast<int64_t>(i)};
        if (!settled(place)) return fault(name(place) + ": not settled in the end");
        if (calm && f.handed != 1) return fault(name(place) + ": not handed out exactly once");
        if (f.handed > 0 || f.corrupt || (f.aborted && read_committed)) continue;
        if (f.refused && f.bytes + kRecordBytes >= slot_bytes) continue;  // nobody can hold it
        if (is_archived(f, place)) continue;
        return fault(name(place) + ": never handed out");
      }
    }
  }
  static Place place_of(const kshare::Record& r) {
    Uuid id{};
    std::copy(r.topic_id.octets, r.topic_id.octets + id.size(), id.begin());
    return Place{id, r.partition, r.offset};
  }
  std::string name(const Place& place) const {
    const auto it = names.find(std::get<0>(place));
    return (it == names.end() ? "?" : it->second) + "[" + std::to_string(std::get<1>(place)) +
           "]@" + std::to_string(std::get<2>(place));
  }
  std::map<Uuid, std::string> names;  // of topics, those deleted too

 private:
  void check_ack(uint64_t life, int node, const Place& place, int8_t type, int64_t clock,
                 uint32_t its_slot_bytes) {
    const std::string where = name(place) + ": ack " + std::to_string(type) + " ";
    Holding* h = find(life, place);
    if (h == nullptr) return fault(where + "of what it had not acquired");
    if (h->node != node && h->node_before == node && h->since >= clock) return;  // written before
    if (h->node != node) return fault(where + "sent to another node");
    if (type == minibroker::kRenew) {
      if (h->sent == Sent::ok) fault(where + "of what was settled before");
      return;
    }
    const Fact& f = fact_of(place);
    const bool seen = h->handed;
    if (h->sent != Sent::no && h->sent != Sent::again) return fault(where + "sent twice");
    if (clock > h->lock_end) {
      return fault(where + "sent at " + std::to_string(clock) + ", its lock ended at " +
                   std::to_string(h->lock_end));
    }
    h->sent = Sent::once;
    fact_of(place).answered_for = true;
    const bool readable = f.data && !f.gone && !f.corrupt && !(f.aborted && read_committed);
    switch (type) {
      case minibroker::kGap:
        if (readable) fault(where + "of a record");
        break;
      case minibroker::kAccept:
        if (!seen) fault(where + "of what was not handed out");
        else if (h->said != type) fault(where + "that nobody had asked for");
        break;
      case minibroker::kReject:
        if (seen && h->said != type) fault(where + "that nobody had asked for");
        if (!seen && readable && f.bytes + kRecordBytes < its_slot_bytes) {
          fault(where + "of an unseen record");
        }
        fact_of(place).refused |= !seen;
        break;
      default:
        if (h->said == minibroker::kAccept || h->said == minibroker::kReject) {
          fault(where + "of what was settled otherwise");
        }
        break;
    }
  }
  Holding* find(uint64_t life, const Place& place) {
    const auto its = holdings_.find(life);
    if (its == holdings_.end()) return nullptr;
    const auto it = its->second.find(place);
    return it == its->second.end() ? nullptr : &it->second;
  }
  Fact& fact_of(const Place& place) {
    return fact(std::get<0>(place), std::get<1>(place), std::get<2>(place));
  }
  static bool tag_fits(const Fact& f, const kshare::Record& r) {
    const std::string tag = std::to_string(f.tag) + ":";
    return r.value.size == f.bytes && r.value.text().substr(0, tag.size()) == tag;
  }
  // It is acquired again: somebody had it before, and has neither handed it out nor given it back.
  void check_answered_for(const Place& place) {
    const Fact& f = fact_of(place);
    if (f.answered_for || f.gone || !prompt || f.bytes + kRecordBytes >= slot_bytes) return;
    if (disturbed_between(f.told_at - lock_ms, now_, place, -1)) return;
    fault(name(place) + ": acquired before, and nothing was said of it");
  }
  // The broker archives what was locked too often, each time for nothing and for a reason.
  bool is_archived(const Fact& f, const Place& place) const {
    if (static_cast<int>(f.locked_at.size()) < delivery_limit) return false;
    if (gives_back || f.bytes + kRecordBytes >= slot_bytes) return true;
    for (int64_t at : f.locked_at) {
      if (!disturbed_between(at - lock_ms, at + lock_ms, place, -1)) return false;
    }
    return true;
  }
  // It was handed out before, or acquired more than once: is there a reason?
  void check_again(const Fact& f, const Holding& h, const Place& place, uint64_t life) {
    const std::string where = name(place) + ": ";
    if (calm && f.handed == 0 && h.count != 1) fault(where + "given back by somebody unseen");
    if (f.handed == 0 || f.said == minibroker::kRelease) return;
    const int64_t from = f.handed_at - h.lock_ms;
    if (disturbed_between(from, now_, place, member_of(f.life))) return;
    if (disturbed_between(from, now_, place, member_of(life))) return;  // this one may be late
    if (f.said_at != Fact::kNotSaid && f.said_at < f.lock_end - h.lock_ms / 2) {
      return fault(where + "comes again, handed out at " + std::to_string(f.handed_at) +
                   ", settled at " + std::to_string(f.said_at) + ", lock until " +
                   std::to_string(f.lock_end));
    }
    if (f.said_at == Fact::kNotSaid && now_ < f.lock_end - h.lock_ms / 2) {
      fault(where + "comes again although its lock goes on");
    }
  }

  const int64_t& now_;
  std::string wrong_;
  std::map<std::pair<Uuid, int32_t>, std::vector<Fact>> facts_;
  std::map<uint64_t, std::map<Place, Holding>> holdings_;
  std::vector<Trouble> troubles_;
};

}  // namespace sim

#endif  // KSHARE_SIM_ORACLE_HPP
