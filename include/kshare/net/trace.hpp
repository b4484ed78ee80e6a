// SPDX-License-Identifier: Apache-2.0
// What:        TracePool: a pool around another pool that tells the application of each request and
//              each answer that passes, from the bytes alone; format() makes a line of it.
// Flow:        consumer.hpp <-> TraceTransport <-> the transport inside; WireEntry -> the sink.
// Memory:      96 bytes a link and 48 for the pool; nothing of what passes is kept but the first 15
//              octets of a frame.
// Valid until: the pool inside must outlive this one, and this one the consumer.
// Errors:      none of its own, and it never changes what passes. What by its size can be no Kafka
//              frame (HTTP, TLS, SSH) is told once; that direction is then left alone until the
//              next connection.
//
//   static kshare::posix::TcpPool<kLimits> net;
//   kshare::TracePool<kLimits, kshare::posix::TcpPool<kLimits>> traced{net, {print, nullptr}};
//   kshare::ShareConsumer consumer{storage, traced};  // goes on with net.now(), net.wait(consumer)
//
// The sink is called in the middle of poll(): it must not call the consumer.
#ifndef KSHARE_NET_TRACE_HPP
#define KSHARE_NET_TRACE_HPP

#include <cstdint>
#include <cstring>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/text.hpp"
#include "kshare/base/time.hpp"
#include "kshare/net/transport.hpp"

namespace kshare {

enum class WireKind : uint8_t {
  none = 0,
  request,     // its last octet has been taken by the transport inside
  answer,      // its last octet has come
  unanswered,  // the connection was closed before the answer to this request was complete
  garbage,     // what passes is no frame of Kafka's: shorter than its header, or above 100 MiB
};

struct WireEntry {
  Instant at{};
  WireKind kind = WireKind::none;
  uint8_t link = 0;      // the transport's index in its pool
  int16_t api = -1;      // Kafka's key; -1: an answer to a request that has not been seen
  int16_t version = 0;   // of the request
  int16_t error = 0;     // answers: Kafka's code for the whole, where it stands at the front
  int32_t correlation = 0;
  int32_t throttle_ms = 0;  // answers
  uint32_t bytes = 0;       // of the frame, its size field included
  uint32_t elapsed_ms = 0;  // since the request
};

struct WireSink {
  void (*function)(void* context, const WireEntry& entry) = nullptr;
  void* context = nullptr;
};

// What the transports of one pool have in common.
struct WireWatch {
  WireSink sink{};
  Instant (*clock)(void* pool) = nullptr;
  void* pool = nullptr;
};

namespace wire_trace {

// What stands first in the body of an answer, in the versions that kshare speaks.
enum class Front : uint8_t { nothing, error, throttle, throttle_error };

struct ApiLook {
  int16_t key;
  Front front;
  bool tags;  // in the answer's header
  const char* name;
};

// nullptr: none that kshare sends.
inline const ApiLook* find_api(int16_t key) {
  static constexpr ApiLook kApis[] = {
      {1, Front::throttle_error, true, "Fetch"},
      {3, Front::throttle, true, "Metadata"},
      {10, Front::throttle, true, "FindCoordinator"},
      {17, Front::error, false, "SaslHandshake"},
      {18, Front::error, false, "ApiVersions"},
      {36, Front::error, true, "SaslAuthenticate"},
      {76, Front::throttle_error, true, "ShareGroupHeartbeat"},
      {78, Front::throttle_error, true, "ShareFetch"},
      {79, Front::throttle_error, true, "ShareAcknowledge"},
  };
  for (const ApiLook& api : kApis) {
    if (api.key == key) return &api;
  }
  return nullptr;
}

// The frames of one direction, however the bytes are cut.
class Frames {
 public:
  void reset() { *this = Frames{}; }

  // Takes bytes up to the end of a frame at most and answers how many. complete() and is_garbage()
  // tell what they were.
  uint32_t take(Bytes bytes, uint32_t size_min) {
    KSHARE_ASSERT(!bytes.empty());
    if (garbage_) return bytes.size;
    if (have_ < kSizeBytes) return take_size(bytes, size_min);
    const uint32_t count = left_ < bytes.size ? left_ : bytes.size;
    keep(bytes.data, count);
    left_ -= count;
    return count;
  }
  bool complete() const { return !garbage_ && have_ > kSizeBytes && left_ == 0; }
  void next() { have_ = 0; }
  bool is_garbage() const { return garbage_; }

  uint32_t bytes() const { return kSizeBytes + load_be32(front_); }
  // The octets at the front, the size field first.
  const uint8_t* front(uint32_t index) const { return front_ + index; }
  bool has(uint32_t count) const { return count <= have_; }

 private:
  static constexpr uint32_t kSizeBytes = 4;
  // A broker's socket.request.max.bytes, unless configured. Answers keep to it too: records come up
  // to its fetch.max.bytes (55 MiB), or as one batch, which had come to it in a request. Letters
  // and the first octets of TLS make a larger number.
  static constexpr uint32_t kSizeMax = 100 << 20;

  uint32_t take_size(Bytes bytes, uint32_t size_min) {
    const uint32_t missing = kSizeBytes - have_;
    const uint32_t count = missing < bytes.size ? missing : bytes.size;
    keep(bytes.data, count);
    if (have_ < kSizeBytes) return count;
    left_ = load_be32(front_);
    garbage_ = left_ < size_min || left_ > kSizeMax;
    return count;
  }
  void keep(const uint8_t* from, uint32_t count) {
    const uint32_t room = static_cast<uint32_t>(sizeof front_) - have_;
    const uint32_t kept = count < room ? count : room;
    std::memcpy(front_ + have_, from, kept);
    have_ = static_cast<uint8_t>(have_ + kept);
  }

  uint32_t left_ = 0;  // of the frame, behind its size
  uint8_t front_[15] = {};  // size, correlation id, no tags, throttle time, error
  uint8_t have_ = 0;
  bool garbage_ = false;
};

// What an answer's front says; nothing if tagged fields of a kind to come push it out of sight.
inline void read_front(const Frames& frames, WireEntry& entry) {
  const ApiLook* const api = find_api(entry.api);
  if (api == nullptr) return;
  uint32_t at = 8;
  if (api->tags && (!frames.has(at + 1) || *frames.front(at++) != 0)) return;
  if (api->front == Front::throttle || api->front == Front::throttle_error) {
    if (!frames.has(at + 4)) return;
    entry.throttle_ms = static_cast<int32_t>(load_be32(frames.front(at)));
    at += 4;
  }
  if (api->front == Front::error || api->front == Front::throttle_error) {
    if (frames.has(at + 2)) entry.error = static_cast<int16_t>(load_be16(frames.front(at)));
  }
}

}  // namespace wire_trace

// One transport, watched. All of its contract is that of the transport inside.
class TraceTransport final : public Transport {
 public:
  constexpr TraceTransport() = default;

  void attach(Transport& inside, uint32_t index, const WireWatch& watch) {
    inside_ = &inside;
    watch_ = &watch;
    index_ = static_cast<uint8_t>(index);
  }

  Status open(const Endpoint& endpoint, Instant now) override {
    forget();
    return inside_->open(endpoint, now);
  }
  IoResult advance(Instant now) override { return inside_->advance(now); }
  IoResult read(MutableBytes into) override {
    const IoResult result = inside_->read(into);
    if (result.io == Io::done) look({into.data, result.count}, in_, kAnswerMin);
    return result;
  }
  IoResult write(Bytes from) override {
    const IoResult result = inside_->write(from);
    if (result.io == Io::done) look({from.data, result.count}, out_, kRequestMin);
    return result;
  }
  void close() override {
    forget();
    inside_->close();
  }
  Interest interest() const override { return inside_->interest(); }

 private:
  static constexpr uint32_t kAnswerMin = 4;    // a correlation id
  static constexpr uint32_t kRequestMin = 10;  // API key, version, correlation id, client id

  void look(Bytes bytes, wire_trace::Frames& frames, uint32_t size_min) {
    while (!bytes.empty() && !frames.is_garbage()) {
      const uint32_t count = frames.take(bytes, size_min);
      bytes = {bytes.data + count, bytes.size - count};
      if (frames.is_garbage()) return tell(entry_of(WireKind::garbage));
      if (!frames.complete()) continue;
      if (&frames == &out_) sent();
      else came();
      frames.next();
    }
  }
  void sent() {
    api_ = static_cast<int16_t>(load_be16(out_.front(4)));
    version_ = static_cast<int16_t>(load_be16(out_.front(6)));
    correlation_ = static_cast<int32_t>(load_be32(out_.front(8)));
    waiting_ = true;
    sent_at_ = watch_->clock(watch_->pool);
    WireEntry entry = entry_of(WireKind::request);
    entry.bytes = out_.bytes();
    tell(entry);
  }
  void came() {
    WireEntry entry = entry_of(WireKind::answer);
    entry.bytes = in_.bytes();
    entry.correlation = static_cast<int32_t>(load_be32(in_.front(4)));
    if (waiting_ && entry.correlation == correlation_) {
      waiting_ = false;
      wire_trace::read_front(in_, entry);
    } else {
      entry.api = -1;
    }
    tell(entry);
  }
  void forget() {
    if (waiting_) tell(entry_of(WireKind::unanswered));
    waiting_ = false;
    in_.reset();
    out_.reset();
  }
  WireEntry entry_of(WireKind kind) const {
    WireEntry entry;
    entry.at = watch_->clock(watch_->pool);
    entry.kind = kind;
    entry.link = index_;
    entry.api = api_;
    entry.version = version_;
    entry.correlation = correlation_;
    entry.elapsed_ms = static_cast<uint32_t>(entry.at - sent_at_);
    return entry;
  }
  void tell(const WireEntry& entry) const {
    if (watch_->sink.function != nullptr) watch_->sink.function(watch_->sink.context, entry);
  }

  Transport* inside_ = nullptr;
  const WireWatch* watch_ = nullptr;
  Instant sent_at_{};
  wire_trace::Frames out_{};
  wire_trace::Frames in_{};
  int32_t correlation_ = 0;  // of the last request
  int16_t api_ = 0;
  int16_t version_ = 0;
  uint8_t index_ = 0;
  bool waiting_ = false;  // for its answer
};

// `L` is the consumer's Limits value, `Pool` a TransportPool with now() beside.
template <const auto& L, class Pool>
class TracePool final : public TransportPool {
 public:
  constexpr TracePool(Pool& inside, WireSink sink)
      : inside_(&inside), watch_{sink, &TracePool::now, &inside} {}
  TracePool(const TracePool&) = delete;
  TracePool& operator=(const TracePool&) = delete;

  uint32_t size() const override { return L.links_max; }
  Transport& transport(uint32_t index) override {
    KSHARE_ASSERT(index < L.links_max);
    transports_[index].attach(inside_->transport(index), index, watch_);
    return transports_[index];
  }
  bool entropy(MutableBytes into) override { return inside_->entropy(into); }

 private:
  static Instant now(void* pool) { return static_cast<Pool*>(pool)->now(); }

  Pool* inside_;
  WireWatch watch_;
  TraceTransport transports_[L.links_max];
};

// One line for an entry, without a line break; answers its length without the NUL.
//
//   12.345 link 1 > ShareFetch v2 #17, 146 bytes
//   12.350 link 1 < ShareFetch v2 #17, 3021 bytes, 5 ms
inline uint32_t format(const WireEntry& entry, char* room, uint32_t bytes) {
  TextOut out(room, bytes);
  if (entry.kind == WireKind::none) return 0;
  out << entry.at << " link " << int32_t{entry.link};
  if (entry.kind == WireKind::garbage) {
    out << " ? bytes that are no frame of Kafka's";
    return out.size();
  }
  const bool request = entry.kind == WireKind::request;
  out << (request ? " > " : entry.kind == WireKind::answer ? " < " : " x ");
  const wire_trace::ApiLook* const api = wire_trace::find_api(entry.api);
  if (entry.api < 0) out << "an answer nobody waits for";
  else if (api != nullptr) out << api->name << " v" << int32_t{entry.version};
  else out << "API " << int32_t{entry.api} << " v" << int32_t{entry.version};
  out << " #" << entry.correlation;
  if (entry.kind == WireKind::unanswered) out << ", no answer";
  else out << ", " << int64_t{entry.bytes} << " bytes";
  if (!request && entry.api >= 0) out << ", " << int64_t{entry.elapsed_ms} << " ms";
  if (entry.throttle_ms != 0) out << ", throttled for " << entry.throttle_ms << " ms";
  if (entry.error != 0) out << ", error " << int32_t{entry.error};
  return out.size();
}

}  // namespace kshare

#endif  // KSHARE_NET_TRACE_HPP
