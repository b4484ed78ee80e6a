// SPDX-License-Identifier: Apache-2.0
// What:        Shared: what every state machine of one consumer may look at: options, counters,
//              events, words.
// Flow:        core/engine.hpp owns it, core/ machines use it.
// Memory:      the option texts and the last error's words lie in Storage.
// Errors:      fail() is for good: the first fatal status stays.
#ifndef KSHARE_CORE_SHARED_HPP
#define KSHARE_CORE_SHARED_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/base64.hpp"
#include "kshare/base/random.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/core/event.hpp"
#include "kshare/core/limits.hpp"
#include "kshare/core/options.hpp"
#include "kshare/core/stats.hpp"
#include "kshare/core/trace.hpp"
#include "kshare/message/decode.hpp"
#include "kshare/wire/api.hpp"

namespace kshare {

// failed: for good, until it is closed.
enum class Life : uint8_t { idle = 0, running, failed };

struct Shared {
  static constexpr uint32_t kClusterIdBytesMax = 22;

  const Limits* limits = nullptr;
  Options options{};  // its texts are copies in Storage
  Stats stats{};
  EventRing events{};
  Random random{};
  Span<char> words{};  // last_error()
  Instant now{};  // for a trace; what acts on the time is given it
  uint16_t words_size = 0;
  char member_id[kMemberIdBytes] = {};
  uint8_t cluster_id_bytes = 0;
  char cluster_id[kClusterIdBytesMax] = {};  // of the last Metadata answer
  Status status{};  // sticky
  int16_t hello_version = api_row(Api::api_versions).max;  // lowered when a broker knows it not
  Life life = Life::idle;

  // One that is longer is not kept, and so not checked: all that Kafka makes have 22 characters.
  void note_cluster(std::string_view id) {
    const bool fits = id.size() <= kClusterIdBytesMax && options.metadata_cluster_check;
    cluster_id_bytes =
        fits ? static_cast<uint8_t>(copy_text(cluster_id, kClusterIdBytesMax, id)) : uint8_t{0};
  }
  bool failed() const { return life == Life::failed; }
  bool is_implicit() const { return options.acknowledgement_mode == AckMode::implicit_mode; }
  std::string_view member() const { return {member_id, kMemberIdBytes}; }
  TextSink sink() { return {words.data, words.size, 0}; }
  void say(const char* text) {
    words_size = static_cast<uint16_t>(copy_text(words.data, words.size, text));
  }

  // The broker has written its words through sink(); empty ones do not wipe out older ones.
  void said(const TextSink& sink) {
    if (sink.size != 0) words_size = static_cast<uint16_t>(sink.size);
  }
  // The first failure of a kind worth keeping for a caller who looks once, at the end.
  void keep(Status failure) {
    if (status.ok()) status = failure;
  }
  // While it runs; what has not been started, or has ended, has nothing to fail at.
  void fail(Status failure) {
    if (failed()) return;
    life = Life::failed;
    status = failure;
    Event& event = events.push(EventType::failed, failure);
    EventRing::set_text(event, {words.data, words_size});
  }
  void fail(Status failure, const char* text) {
    say(text);
    fail(failure);
  }

  void tell(EventType type, int32_t value) { events.push(type).value = value; }

  // Off, a trace costs this branch.
  bool traced() const { return options.trace.function != nullptr; }
  void trace(TraceEntry& entry) const {
    entry.at = now;
    options.trace.function(options.trace.context, entry);
  }
  void trace(TraceKind kind, int32_t value, uint8_t state = 0) const {
    if (!traced()) return;
    TraceEntry entry;
    entry.kind = kind;
    entry.state = state;
    entry.node = value;
    entry.value = value;
    trace(entry);
  }

  void fail_groups_off(int16_t code) {
    fail({Errc::share_groups_off, code},
         "share groups are switched off on this cluster: raise its feature share.version to 1");
  }

  int64_t retry_ms(uint32_t attempt) {
    return backoff_ms(attempt, static_cast<uint32_t>(options.retry_backoff_ms),
                      static_cast<uint32_t>(options.retry_backoff_max_ms), random);
  }
  // After one more failure: when to try again.
  __attribute__((always_inline)) Instant next_try(uint8_t& attempts, Instant from) {
    return {next_try_ms(attempts, from)};
  }
  int64_t reconnect_ms(uint32_t attempt) {
    return backoff_ms(attempt, static_cast<uint32_t>(options.reconnect_backoff_ms),
                      static_cast<uint32_t>(options.reconnect_backoff_max_ms), random);
  }

 private:
  // In a whole number: an Instant that is returned goes through memory.
  int64_t next_try_ms(uint8_t& attempts, Instant from) {
    const Instant at = from + retry_ms(attempts);
    if (attempts < 16) ++attempts;
    return at.ms;
  }
};

}  // namespace kshare

#endif  // KSHARE_CORE_SHARED_HPP
