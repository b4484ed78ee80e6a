// SPDX-License-Identifier: Apache-2.0
// What:        Member: our membership of the share group: finding the coordinator, joining,
//              heartbeats, leaving.
// Flow:        core/engine.hpp asks what is due and sends it on the control link -> answers come
//              back here -> assignments go to core/topology.hpp.
// Memory:      a hundred bytes.
// Errors:      14, 15, 16, time-outs: again with back-off, or a new search for the coordinator. 25,
//              110, 69: join again with epoch 0. 29: said once, heartbeats go on. 35: share groups
//              are off. All others are fatal.
// Source:      KIP-932; the heartbeat schedule after a join is ours (an empty assignment is normal
//              at first: the broker prepares its share state, and from 4.3 on assigns at most once
//              a second). Leaving is tried again as well (Java tries once): whoever is not heard
//              keeps its partitions from the others until its session has timed out.
//
//   idle -> joining (epoch 0) -> stable (epoch > 0) -> leaving (epoch -1) -> idle
//              ^------ 25, 110, 69 ----'
#ifndef KSHARE_CORE_MEMBER_HPP
#define KSHARE_CORE_MEMBER_HPP

#include <cstdint>

#include "kshare/core/shared.hpp"
#include "kshare/core/topology.hpp"
#include "kshare/message/find_coordinator.hpp"
#include "kshare/message/share_group_heartbeat.hpp"
#include "kshare/wire/error_code.hpp"

namespace kshare {

enum class MemberState : uint8_t { idle = 0, joining, stable, leaving };

class Member {
 public:
  static constexpr int32_t kUnknown = -1;

  MemberState state() const { return state_; }
  int32_t epoch() const { return epoch_; }
  int32_t coordinator() const { return coordinator_; }
  bool active() const { return state_ != MemberState::idle; }
  bool has_joined() const { return state_ >= MemberState::stable; }
  Instant deadline() const {
    if (state_ == MemberState::idle) return kNever;
    return coordinator_ == kUnknown ? search_at_ : heartbeat_at_;
  }

  // ---- What the application wants.
  void subscription_changed(Instant now) {
    names_due_ = true;
    if (state_ == MemberState::idle || state_ == MemberState::leaving) start_join();
    heartbeat_at_ = now;
  }
  // True if there is anything to leave; a leave heartbeat is due then. A join that was sent counts,
  // answered or not: the coordinator may know us.
  bool leave(Instant now) {
    if (state_ == MemberState::leaving) return true;
    state_ = announced_ ? MemberState::leaving : MemberState::idle;
    heartbeat_at_ = since_ = now;
    return announced_;
  }
  // Whoever could not leave for so long is out by now.
  void expire(Instant now) {
    if (state_ == MemberState::leaving && now - since_ >= kLeavingMsMax) stop();
  }
  void stop() {
    state_ = MemberState::idle;
    epoch_ = 0;
    announced_ = false;
  }

  // ---- The coordinator.
  bool search_due(Instant now) const {
    return active() && coordinator_ == kUnknown && now >= search_at_;
  }
  void begin_search(Writer& out, const Shared& shared) {
    encode_find_coordinator(out, shared.options.group_id);
  }
  void forget_coordinator(Instant search_at, const Shared& shared) {
    if (coordinator_ != kUnknown) shared.trace(TraceKind::coordinator, kUnknown);
    coordinator_ = kUnknown;
    search_at_ = search_at;
  }
  // Tells a trace what has become of the membership since this was last called.
  void trace(const Shared& shared) {
    if (told_as_ == state_) return;
    told_as_ = state_;
    shared.trace(TraceKind::member, epoch_, static_cast<uint8_t>(state_));
  }
  // Its connection is gone: at once the first time, then with back-off until a heartbeat succeeds.
  void coordinator_lost(Instant now, Shared& shared) {
    if (coordinator_ == kUnknown) return;
    forget_coordinator(search_attempts_ == 0 ? now : now + shared.retry_ms(search_attempts_ - 1u),
                       shared);
    if (search_attempts_ < 16) ++search_attempts_;
  }
  // The answer has been read. True if the coordinator is known now.
  bool on_search(const FindCoordinatorDecoder& answer, int32_t node_id, Instant now,
                 Shared& shared) {
    if (answer.error() == kafka::kNone && node_id >= 0) {
      coordinator_ = node_id;
      heartbeat_at_ = now;
      shared.trace(TraceKind::coordinator, node_id);
      shared.events.push(EventType::coordinator_found).node = node_id;
      return true;
    }
    report(answer.error(), answer.words(), shared);
    const bool refused = answer.error() == kafka::kGroupAuthorizationFailed;
    search_at_ = shared.next_try(search_attempts_, now);
    if (refused) search_at_ = now + shared.retry_ms(16);
    return false;
  }

  // ---- Heartbeats.
  bool heartbeat_due(Instant now) const {
    return active() && coordinator_ != kUnknown && now >= heartbeat_at_;
  }
  void encode_heartbeat(Writer& out, const Topology& topology, const Shared& shared) {
    HeartbeatHead head;
    head.group_id = shared.options.group_id;
    head.member_id = shared.member();
    head.member_epoch = epoch_to_send();
    const bool full = state_ == MemberState::joining;
    if (full) head.rack_id = shared.options.client_rack;
    encode_heartbeat_head(out, head);
    names_sent_ = state_ != MemberState::leaving && (full || names_due_);
    if (names_sent_) {
      const uint32_t names = out.begin_array();
      uint32_t count = 0;
      for (const TopicRow& topic : topology.topics()) {
        if (!topic.subscribed) continue;
        out.string(topology.name(topic));
        ++count;
      }
      out.end_array(names, count);
      names_due_ = false;
    } else {
      out.null_array();
    }
    out.no_tags();
    sent_as_ = state_;
    announced_ = true;
    heartbeat_at_ = kNever;  // until the answer, or the loss of the link
  }
  int32_t epoch_to_send() const { return state_ == MemberState::leaving ? -1 : epoch_; }
  void heartbeat_lost(Instant now, Shared& shared) {
    if (!active()) return;
    names_due_ = true;  // the answer may have told of a new assignment: with names it is told again
    retry(now, shared);
  }
  // Reads the answer: the assignment goes straight into the topology's tables.
  // True at its end; then on_heartbeat() has its say.
  bool read_heartbeat(ShareGroupHeartbeatDecoder& answer, Reader& in, Topology& topology) {
    for (;;) {
      switch (answer.next(in)) {
        case ShareGroupHeartbeatDecoder::Item::none: return false;
        case ShareGroupHeartbeatDecoder::Item::head:
          assignment_came_ = false;
          unplaced_ = 0;
          break;
        case ShareGroupHeartbeatDecoder::Item::assignment:
          assignment_came_ = true;
          topology.begin_assignment();
          break;
        case ShareGroupHeartbeatDecoder::Item::partition:
          if (!topology.assign(answer.topic_id(), answer.partition())) ++unplaced_;
          break;
        case ShareGroupHeartbeatDecoder::Item::end: return true;
      }
    }
  }
  void on_heartbeat(const ShareGroupHeartbeatDecoder& answer, Instant sent_at, Instant now,
                    Topology& topology, Shared& shared) {
    if (state_ == MemberState::idle || sent_as_ != state_) {
      topology.begin_assignment();  // what it brought is of a membership that is over
      heartbeat_at_ = now;
      return;
    }
    if (state_ == MemberState::leaving && !kafka::heartbeat_may_be_retried(answer.error())) {
      topology.clear_assignment();
      return stop();
    }
    if (answer.error() != kafka::kNone) return on_error(answer, now, topology, shared);
    if (answer.member_epoch() <= 0) return rejoin({Errc::malformed, 0}, now, topology, shared);
    told_ = 0;
    attempts_ = search_attempts_ = 0;
    if (state_ == MemberState::joining) {
      state_ = MemberState::stable;
      shared.tell(EventType::joined, answer.member_epoch());
      expect_assignment(now);
    }
    if (epoch_ != answer.member_epoch()) told_as_ = kUntold;
    epoch_ = answer.member_epoch();
    trace(shared);
    if (assignment_came_) apply_assignment(topology, shared);
    plan_next(answer.interval_ms(), sent_at, now, topology);
    if (assignment_came_) ask_again(now, topology, shared);
    if (names_due_ && crowded_ == 0) heartbeat_at_ = now;  // changed since this one was sent
  }
  // Something has changed that may fill an empty assignment soon.
  void expect_assignment(Instant now) { since_ = now; }
  void topic_appeared(Instant now) {
    if (state_ != MemberState::stable) return;
    expect_assignment(now);
    heartbeat_at_ = now;
  }

 private:
  static constexpr int64_t kHopeMs = 5000;
  static constexpr auto kUntold = static_cast<MemberState>(0xFF);
  static constexpr int64_t kLeavingMsMax = 45000;   // Kafka's default for a session's time-out
  static constexpr uint32_t kIntervalMsMax = 30000;  // whatever the coordinator says: it may err

  void start_join() {
    state_ = MemberState::joining;
    epoch_ = 0;
    names_due_ = true;
  }

  void apply_assignment(Topology& topology, Shared& shared) {
    const bool changed = topology.end_assignment();
    if (changed) {
      const auto count = static_cast<int32_t>(topology.assigned_count());
      shared.tell(EventType::assignment_changed, count);
      shared.trace(TraceKind::assignment, count);
    }
    if (unplaced_ != 0 && !topology.has_leftovers()) {
      shared.tell(EventType::assignment_too_large, unplaced_);
    }
  }
  // What found no place because rows of the assignment before are still in use will find one soon:
  // with our topic names in the heartbeat the coordinator tells the whole assignment again.
  void ask_again(Instant now, const Topology& topology, Shared& shared) {
    if (unplaced_ == 0 || !topology.has_leftovers()) {
      crowded_ = 0;
      return;
    }
    names_due_ = true;
    heartbeat_at_ = earlier(heartbeat_at_, shared.next_try(crowded_, now));
  }

  // When the next heartbeat is due: at the broker's interval; sooner while the assignment is empty.
  void plan_next(int32_t interval_ms, Instant sent_at, Instant now, const Topology& topology) {
    uint32_t interval = interval_ms > 0 ? static_cast<uint32_t>(interval_ms) : 5000;
    if (interval > kIntervalMsMax) interval = kIntervalMsMax;
    heartbeat_at_ = sent_at + interval;
    if (topology.assigned_count() != 0 || now - since_ >= kHopeMs) return;
    const auto since = static_cast<uint32_t>(now - since_);
    uint32_t next = (since / 500 + 1) * 500 + 20;  // 1020, 1520, ... behind the first answer
    if (since < 500) next = since < 100 ? 100 : since < 250 ? 250 : 500;
    else if (since < 1020) next = 1020;
    if (next < interval) heartbeat_at_ = earlier(heartbeat_at_, since_ + next);
  }

  void retry(Instant now, Shared& shared) {
    heartbeat_at_ = shared.next_try(attempts_, now);
  }

  void rejoin(Status why, Instant now, Topology& topology, Shared& shared) {
    topology.clear_assignment();
    if (topology.subscribed_count() == 0) {  // on the way out
      if (why.detail != kafka::kFencedMemberEpoch) return stop();  // there is no member to leave
      static_cast<void>(leave(now));
      return;
    }
    shared.events.push(EventType::rejoining, why);
    start_join();
    retry(now, shared);
  }
  void on_error(const ShareGroupHeartbeatDecoder& answer, Instant now, Topology& topology,
                Shared& shared) {
    const int16_t code = answer.error();
    names_due_ = names_due_ || names_sent_;
    if (code == kafka::kCoordinatorNotAvailable || code == kafka::kNotCoordinator) {
      return forget_coordinator(shared.next_try(attempts_, now), shared);
    }
    if (kafka::heartbeat_may_be_retried(code)) return retry(now, shared);
    if (code == kafka::kUnknownMemberId || code == kafka::kFencedMemberEpoch ||
        code == kafka::kGroupIdNotFound) {
      return rejoin({Errc::broker_error, code}, now, topology, shared);
    }
    if (code == kafka::kUnsupportedVersion) return shared.fail_groups_off(code);
    if (code == kafka::kTopicAuthorizationFailed) {
      report(code, answer.words(), shared);
      heartbeat_at_ = now + shared.retry_ms(16);
      return;
    }
    shared.said(answer.words());
    shared.fail({Errc::group_rejected, code});
  }
  // Once per change: no event a heartbeat.
  void report(int16_t code, const TextSink& words, Shared& shared) {
    shared.said(words);
    if (code == told_) return;
    told_ = code;
    if (code == kafka::kCoordinatorNotAvailable || code == kafka::kCoordinatorLoadInProgress ||
        code == kafka::kNotCoordinator) {
      return;  // a group coordinator that is starting
    }
    Event& event = shared.events.push(EventType::group_error, {Errc::broker_error, code});
    EventRing::set_text(event, {words.to, words.size});
  }

  // What is asked for most lies in front, where short instructions reach it.
  MemberState state_ = MemberState::idle;
  MemberState sent_as_ = MemberState::idle;  // what we were when the last heartbeat was sent
  MemberState told_as_ = MemberState::idle;  // to a trace
  bool announced_ = false;  // a heartbeat has been sent: the coordinator may know us
  bool names_due_ = false;
  bool names_sent_ = false;
  bool assignment_came_ = false;
  uint8_t attempts_ = 0;
  uint8_t search_attempts_ = 0;
  uint8_t crowded_ = 0;  // times that an assignment found rows of the one before in its way
  int16_t told_ = 0;
  int32_t coordinator_ = kUnknown;
  int32_t epoch_ = 0;
  int32_t unplaced_ = 0;
  Instant search_at_{};
  Instant heartbeat_at_{};
  Instant since_{};  // stable: an assignment is hoped for since then; leaving: it has begun then
};

}  // namespace kshare

#endif  // KSHARE_CORE_MEMBER_HPP
