// SPDX-License-Identifier: Apache-2.0
// What:        Link: one connection to one broker, sans I/O: its life, its frames, one request at a
//              time.
// Flow:        consumer.hpp moves bytes between a Transport and the two windows; core/engine.hpp
//              makes requests and reads answers.
// Memory:      a receive and a send window, lent by Storage.
// Valid until: reader() views until the next receive().
// Errors:      on_lost() for whatever ends the connection; the next attempt waits for a jittered
//              back-off.
//
//   idle -> waiting -> opening -> negotiating (ApiVersions) -> ready
//             ^___________|____________|_____________________|   lost: back-off
#ifndef KSHARE_CORE_LINK_HPP
#define KSHARE_CORE_LINK_HPP

#include <cstdint>

#include "kshare/core/shared.hpp"
#include "kshare/message/api_versions.hpp"
#include "kshare/version.hpp"
#include "kshare/wire/api.hpp"
#include "kshare/wire/reader.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

enum class LinkState : uint8_t { idle = 0, waiting, opening, negotiating, ready };

class Link {
 public:
  static constexpr int32_t kNoNode = -1;
  // A broker that says more is asked again after this: no answer can mute a link for good.
  static constexpr int16_t kThrottleMsMax = 30000;

  // Once. `index`: which of the consumer's links it is.
  void attach(MutableBytes receive, MutableBytes send, uint32_t index = 0) {
    index_ = static_cast<uint8_t>(index);
    send_ = send;
    reader_.attach(receive.data, receive.size);
  }

  uint32_t index() const { return index_; }
  LinkState state() const { return state_; }
  bool ready() const { return state_ == LinkState::ready; }
  bool in_use() const { return state_ != LinkState::idle; }
  bool busy() const { return busy_; }
  bool can_send(Instant now) const { return ready() && !busy_ && now >= mute_until_; }
  Api request() const { return request_; }
  Instant sent_at() const { return sent_at_; }
  Instant first_byte_at() const { return first_byte_at_; }
  uint32_t attempts() const { return (distrust_ + kAnswersALoss - 1u) / kAnswersALoss; }
  Reader& reader() { return reader_; }

  // ---- Where to.
  // A broker by its id, or bootstrap entry i as -2 - i.
  int32_t target() const { return target_; }
  void set_target(int32_t target, Instant now, const Shared& shared) {
    if (state_ != LinkState::idle) stop(shared);
    target_ = target;
    state_ = LinkState::waiting;
    deadline_ = now;
    distrust_ = 0;
  }
  // While waiting: the next attempt goes there, then.
  void retarget(int32_t target, Instant at) {
    KSHARE_ASSERT(state_ == LinkState::waiting);
    target_ = target;
    deadline_ = at;
  }
  // The broker behind the link turned out to have this id.
  void name_target(int32_t node_id) { target_ = node_id; }
  void stop(const Shared& shared) {
    if (state_ != LinkState::idle) become(LinkState::idle, {}, shared);
    target_ = kNoNode;
    drop();
  }

  // ---- The transport's side (consumer.hpp).
  bool wants_close() const { return wants_close_; }
  void closed() { wants_close_ = false; }
  bool wants_open(Instant now) const {
    return state_ == LinkState::waiting && now >= deadline_ && !wants_close_;
  }
  void on_opening(Instant now, int64_t timeout_ms, const Shared& shared) {
    become(LinkState::opening, {}, shared);
    deadline_ = now + timeout_ms;
  }
  void on_connected(Instant now, Shared& shared) {
    become(LinkState::negotiating, {}, shared);
    ask_versions(shared.hello_version, now, shared);
  }
  void on_lost(Instant now, Shared& shared, Status why = {}) {
    if (state_ == LinkState::idle) return;
    become(LinkState::waiting, why, shared);
    deadline_ = now + shared.reconnect_ms(attempts());
    if (distrust_ < 15 * kAnswersALoss) distrust_ += kAnswersALoss;
    drop();
  }
  Bytes unsent() const { return {send_.data + sent_, send_size_ - sent_}; }
  void sent(uint32_t count, Shared& shared) {
    sent_ += count;
    shared.stats.bytes_sent += count;
  }
  MutableBytes space() { return reader_.space(); }
  bool is_full() const { return reader_.full(); }  // nothing can be read from the network now
  bool has_unread() const { return busy_ && reader_.available() != 0; }
  void received(uint32_t count, Instant now, Shared& shared) {
    if (first_byte_at_.ms < 0) first_byte_at_ = now;
    reader_.filled(count);
    shared.stats.bytes_received += count;
  }

  // ---- Requests. begin() gives a writer behind the header; send() completes the frame.
  Writer begin(Api api, const Shared& shared) {
    KSHARE_ASSERT(!busy_);
    request_ = api;
    Writer out{send_.data, send_.size};
    const int16_t version = this->version(api);
    const bool flexible = api != Api::api_versions || version >= 3;
    out.i32(0);                                         // frame size, set by send()
    out.i16(api_row(api).key);                          // RequestApiKey
    out.i16(version);                                   // RequestApiVersion
    out.i32(static_cast<int32_t>(correlation_ + 1));    // CorrelationId
    out.short_string(shared.options.client_id);         // ClientId
    if (flexible) out.no_tags();
    return out;
  }
  // `wait_ms`: so long the broker may take over the time that it has for every answer. `epoch`: the
  // session's or the member's in it, for a trace.
  void send(Writer& out, Instant now, Shared& shared, int32_t wait_ms = 0, int32_t epoch = 0) {
    KSHARE_ASSERT(out.ok());
    out.patch_i32(0, static_cast<int32_t>(out.size() - 4));
    ++correlation_;
    busy_ = true;
    send_size_ = out.size();
    sent_ = 0;
    sent_at_ = now;
    first_byte_at_ = Instant{-1};
    frame_ = Frame::size;
    deadline_ = now + shared.options.request_timeout_ms + wait_ms;
    ++shared.stats.requests;
    trace(TraceKind::request, {}, epoch, shared);
  }

  // True once the answer's header has been read: a decoder may go on from reader().
  bool in_answer() {
    if (!busy_) {
      if (reader_.available() != 0) reader_.fail();  // nobody asked
      return false;
    }
    if (frame_ == Frame::size) {
      reader_.begin_frame(4);
      const uint32_t size = reader_.u32();
      if (!reader_.commit()) return false;
      if (size > static_cast<uint32_t>(INT32_MAX)) reader_.fail();
      reader_.begin_frame(size);
      answer_bytes_ = size + 4;
      frame_ = Frame::header;
    }
    if (frame_ == Frame::header) {
      if (reader_.malformed()) return false;
      const uint32_t correlation = reader_.u32();
      if (request_ != Api::api_versions) reader_.tags();  // its header has none, ever
      if (!reader_.commit()) return false;
      if (correlation != correlation_) reader_.fail();
      frame_ = Frame::body;
    }
    return !reader_.malformed();
  }
  // The decoder has reached the end; true when what may follow in the frame has been passed over.
  bool end_answer(int32_t throttle_ms, Instant now) {
    if (frame_ != Frame::rest) {
      frame_ = Frame::rest;
      throttle_ms_ = static_cast<int16_t>(
          throttle_ms < 0 ? 0 : throttle_ms < kThrottleMsMax ? throttle_ms : kThrottleMsMax);
      reader_.abandon_frame();
    }
    if (!reader_.settle()) return false;
    busy_ = false;
    if (request_ != Api::api_versions) {  // more than a friendly hello
      distrust_ = static_cast<uint8_t>(distrust_ - (distrust_ + 15) / 16);
    }
    if (throttle_ms_ > 0) mute_until_ = now + throttle_ms_;  // KIP-219
    return true;
  }

  // Tells a trace what the link knows: of itself, and of the request that is being answered.
  void trace(TraceKind kind, Status status, int32_t value, const Shared& shared) const {
    if (!shared.traced()) return;
    TraceEntry entry;
    entry.kind = kind;
    entry.link = index_;
    entry.state = static_cast<uint8_t>(state_);
    entry.api = request_;
    entry.version = static_cast<int8_t>(version(request_));
    entry.throttle_ms = static_cast<uint16_t>(throttle_ms_);
    entry.status = status;
    entry.node = target_;
    entry.value = value;
    const bool answered = kind == TraceKind::answer;
    entry.bytes = answered ? answer_bytes_ : send_size_;
    if (answered || busy_) {
      entry.correlation = static_cast<int32_t>(correlation_);
      entry.elapsed_ms = static_cast<uint32_t>(shared.now - sent_at_);
    }
    shared.trace(entry);
  }

  // ---- ApiVersions.
  // The highest that both sides speak; -1: none.
  int16_t version(Api api) const { return versions_[static_cast<uint32_t>(api)]; }
  // RENEW and record_limit.
  bool can_renew() const {
    return version(Api::share_fetch) >= 2 && version(Api::share_acknowledge) >= 2;
  }
  enum class Negotiation : uint8_t { unfinished, ready, too_old, groups_off, misdirected };
  Negotiation negotiate(Instant now, Shared& shared) {
    for (;;) {
      switch (hello_.next(reader_)) {
        case ApiVersionsDecoder::Item::none: return Negotiation::unfinished;
        case ApiVersionsDecoder::Item::range: note_range(); break;
        case ApiVersionsDecoder::Item::feature:
          if (same_text(hello_.feature(), literal("share.version"))) share_level_ = hello_.level();
          break;
        case ApiVersionsDecoder::Item::end:
          if (!end_answer(0, now)) return Negotiation::unfinished;
          trace(TraceKind::answer, {}, hello_.error(), shared);
          if (hello_.error() == kafka::kUnsupportedVersion && asked_version_ != 0) {
            ask_lower(now, shared);
            return Negotiation::unfinished;
          }
          if (hello_.error() == kafka::kRebootstrapRequired) return Negotiation::misdirected;
          if (hello_.error() != kafka::kNone) {
            reader_.fail();
            return Negotiation::unfinished;
          }
          become(LinkState::ready, {}, shared);
          if (hello_.has_features() && share_level_ <= 0) return Negotiation::groups_off;
          return can_all() ? Negotiation::ready : Negotiation::too_old;
      }
    }
  }

  // ---- Time.
  bool timed_out(Instant now) const {
    return now >= deadline_ && (busy_ || state_ == LinkState::opening);
  }
  Instant deadline(Instant now) const {
    if (wants_close_) return now;
    if (state_ == LinkState::idle) return kNever;
    if (busy_ || state_ == LinkState::opening || state_ == LinkState::waiting) return deadline_;
    return mute_until_ > now ? mute_until_ : kNever;
  }
  Instant retry_at() const { return deadline_; }  // while waiting
  // What is here unread waits for us: the broker is not late.
  void put_off(Instant now, const Shared& shared) {
    if (has_unread()) deadline_ = now + shared.options.request_timeout_ms;
  }

 private:
  // What a loss weighs in answers: a connection that breaks off behind its first ones, every time,
  // is as bad as one that is refused.
  static constexpr uint8_t kAnswersALoss = 16;

  enum class Frame : uint8_t { size, header, body, rest };

  void become(LinkState to, Status why, const Shared& shared) {
    const auto from = static_cast<int32_t>(state_);
    state_ = to;
    trace(TraceKind::link, why, from, shared);
  }
  void drop() {
    wants_close_ = true;
    busy_ = false;
    send_size_ = sent_ = 0;
    mute_until_ = Instant{};
    reader_.reset();
  }
  void ask_versions(int16_t version, Instant now, Shared& shared) {
    for (int8_t& one : versions_) one = -1;
    versions_[static_cast<uint32_t>(Api::api_versions)] = static_cast<int8_t>(version);
    asked_version_ = version;
    share_level_ = 0;
    Writer out = begin(Api::api_versions, shared);
    encode_api_versions(out, version, literal("kshare"), literal(kVersion),
                        {{shared.cluster_id, shared.cluster_id_bytes}, target_});
    hello_.begin(version);
    send(out, now, shared);
  }
  // The broker has named its own range with the refusal; every connection behind asks so at once.
  void ask_lower(Instant now, Shared& shared) {
    const int16_t named = version(Api::api_versions);
    const bool usable = named >= 3 && named < asked_version_;
    if (usable && named < shared.hello_version) shared.hello_version = named;
    ask_versions(usable ? named : int16_t{0}, now, shared);
  }
  void note_range() {
    for (uint32_t i = 0; i < kApis; ++i) {
      const ApiRow& row = kApiRows[i];
      if (row.key != hello_.key() || hello_.min() > row.max || hello_.max() < row.min) continue;
      versions_[i] = static_cast<int8_t>(hello_.max() < row.max ? hello_.max() : row.max);
    }
  }
  bool can_all() const {
    for (const int8_t one : versions_) {
      if (one < 0) return false;
    }
    return true;
  }

  // What is asked for most lies in front, where short instructions reach it.
  LinkState state_ = LinkState::idle;
  Api request_ = Api::api_versions;
  Frame frame_ = Frame::size;
  bool busy_ = false;
  bool wants_close_ = false;
  uint8_t distrust_ = 0;  // a loss adds to it, an answer takes away
  uint8_t index_ = 0;
  int8_t versions_[kApis] = {};
  int16_t throttle_ms_ = 0;
  int32_t target_ = kNoNode;
  int16_t asked_version_ = 0;
  int16_t share_level_ = 0;  // the finalized feature share.version
  uint32_t send_size_ = 0;
  uint32_t sent_ = 0;
  uint32_t answer_bytes_ = 0;  // of the whole frame
  uint32_t correlation_ = 0;  // wraps around
  Reader reader_{};
  MutableBytes send_{};
  ApiVersionsDecoder hello_{};
  Instant deadline_{};  // of what is under way; while waiting: when the next attempt is due
  Instant sent_at_{};
  Instant first_byte_at_{};
  Instant mute_until_{};
};

}  // namespace kshare

#endif  // KSHARE_CORE_LINK_HPP
