// SPDX-License-Identifier: Apache-2.0
// What:        set(): options by Kafka's property names, as command lines and configuration files
//              give them. Every property of Java's share consumer has an answer, also where kshare
//              lacks it; kshare's own options have names beside. README.md prints them all.
// Flow:        a file or a command line -> here -> Options -> ShareConsumer::start().
// Memory:      none; texts are kept as views.
// Valid until: name and value of a text must live until start() has returned.
// Errors:      PropertyResult: the option is untouched unless the outcome is `accepted`; `reason`
//              is a sentence for the user.
#ifndef KSHARE_CORE_PROPERTIES_HPP
#define KSHARE_CORE_PROPERTIES_HPP

#include <cstdint>
#include <string_view>

#include "kshare/core/options.hpp"

namespace kshare {

enum class PropertyOutcome : uint8_t {
  accepted,   // the option is set
  no_effect,  // known and harmless: kshare has nothing that it would change
  unknown,    // no such property
  bad_value,  // the value cannot be read, or is out of range
  rejected,   // known, and ignoring it would be wrong: share consumers or kshare cannot do it
};

struct [[nodiscard]] PropertyResult {
  PropertyOutcome outcome = PropertyOutcome::accepted;
  const char* reason = "";  // "" if accepted

  constexpr bool ok() const { return outcome <= PropertyOutcome::no_effect; }
};

namespace property {

struct Text {
  std::string_view name;
  std::string_view Options::*field;
};
struct Number {
  std::string_view name;
  int32_t Options::*field;
  int32_t min;
};
struct Flag {
  std::string_view name;
  bool Options::*field;
};
struct Answer {
  std::string_view name;  // with a '*' at its end: every name that begins so
  PropertyResult result;
};

inline constexpr Text kTexts[] = {
    {"bootstrap.servers", &Options::bootstrap_servers},
    {"group.id", &Options::group_id},
    {"client.id", &Options::client_id},
    {"client.rack", &Options::client_rack},
};

inline constexpr Number kNumbers[] = {
    {"max.poll.records", &Options::max_poll_records, 1},
    {"fetch.min.bytes", &Options::fetch_min_bytes, 0},
    {"fetch.max.bytes", &Options::fetch_max_bytes, 1},
    {"fetch.max.wait.ms", &Options::fetch_max_wait_ms, 0},
    {"request.timeout.ms", &Options::request_timeout_ms, 1},
    {"socket.connection.setup.timeout.ms", &Options::connection_setup_timeout_ms, 1},
    {"retry.backoff.ms", &Options::retry_backoff_ms, 1},
    {"retry.backoff.max.ms", &Options::retry_backoff_max_ms, 1},
    {"reconnect.backoff.ms", &Options::reconnect_backoff_ms, 1},
    {"reconnect.backoff.max.ms", &Options::reconnect_backoff_max_ms, 1},
    {"metadata.max.age.ms", &Options::metadata_max_age_ms, 1},
    {"metadata.recovery.rebootstrap.trigger.ms", &Options::rebootstrap_trigger_ms, 1},
    {"ack.linger.ms", &Options::ack_linger_ms, 0},
    {"lock.margin.ms", &Options::lock_margin_ms, 0},
};

inline constexpr Flag kFlags[] = {
    {"check.crcs", &Options::check_crcs},
    {"allow.auto.create.topics", &Options::allow_auto_create_topics},
    {"metadata.cluster.check.enable", &Options::metadata_cluster_check},
    {"auto.renew", &Options::auto_renew},
};

inline constexpr PropertyResult kBySharing{
    PropertyOutcome::rejected, "share groups have no such setting: it belongs to consumer groups"};
inline constexpr PropertyResult kNoClasses{PropertyOutcome::rejected, "kshare loads no classes"};
inline constexpr PropertyResult kNoMetrics{
    PropertyOutcome::no_effect, "kshare counts (stats()) and sends no metrics"};
inline constexpr PropertyResult kNoTls{PropertyOutcome::rejected, "kshare has no TLS yet"};
inline constexpr PropertyResult kNoSasl{PropertyOutcome::rejected, "kshare has no SASL yet"};
inline constexpr PropertyResult kOctets{
    PropertyOutcome::no_effect, "kshare hands out keys and values as bytes"};
inline constexpr PropertyResult kOneTimeout{
    PropertyOutcome::no_effect, "socket.connection.setup.timeout.ms holds for every attempt"};
inline constexpr PropertyResult kSocketBuffers{
    PropertyOutcome::no_effect, "sockets keep the system's buffer sizes"};

inline constexpr Answer kAnswers[] = {
    // Of consumer groups: Java's share consumer refuses these too.
    {"auto.offset.reset",
     {PropertyOutcome::rejected,
      "share groups keep this at the broker: set the group's config share.auto.offset.reset"}},
    {"isolation.level",
     {PropertyOutcome::rejected,
      "share groups keep this at the broker: set the group's config share.isolation.level"}},
    {"session.timeout.ms",
     {PropertyOutcome::rejected,
      "share groups keep this at the broker: set the group's config share.session.timeout.ms"}},
    {"heartbeat.interval.ms",
     {PropertyOutcome::rejected,
      "share groups keep this at the broker: set the group's config share.heartbeat.interval.ms"}},
    {"enable.auto.commit",
     {PropertyOutcome::rejected,
      "share groups have no offsets to commit: see share.acknowledgement.mode"}},
    {"group.instance.id", kBySharing},
    {"group.protocol", kBySharing},
    {"group.remote.assignor", kBySharing},
    {"partition.assignment.strategy", kBySharing},
    {"interceptor.classes", kNoClasses},
    {"security.providers", kNoClasses},
    {"config.providers*", kNoClasses},
    // What would weaken a connection if it were passed over.
    {"ssl.*", kNoTls},
    {"sasl.*", kNoSasl},
    // What kshare does in its own way, or has no part for.
    {"bootstrap.resolve.timeout.ms",
     {PropertyOutcome::no_effect, "a lookup is tried again for ever, with reconnect.backoff.ms"}},
    {"max.poll.interval.ms",
     {PropertyOutcome::no_effect, "poll() carries the heartbeats: call it by deadline()"}},
    {"max.partition.fetch.bytes", {PropertyOutcome::no_effect, "share fetches have no such bound"}},
    {"key.deserializer", kOctets},
    {"value.deserializer", kOctets},
    {"default.api.timeout.ms",
     {PropertyOutcome::no_effect, "every call that waits takes a timeout of its own"}},
    {"socket.connection.setup.timeout.max.ms", kOneTimeout},
    {"connections.max.idle.ms",
     {PropertyOutcome::no_effect, "kshare keeps its connections; brokers end idle ones"}},
    {"send.buffer.bytes", kSocketBuffers},
    {"receive.buffer.bytes", kSocketBuffers},
    {"exclude.internal.topics", {PropertyOutcome::no_effect, "kshare subscribes by name alone"}},
    {"enable.metrics.push", kNoMetrics},
    {"metric.reporters", kNoMetrics},
    {"metrics.*", kNoMetrics},
    {"auto.include.jmx.reporter", kNoMetrics},
};

inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Whether `text` reads `lower`, whatever its case.
inline bool same_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (uint32_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != lower[i]) return false;
  }
  return true;
}

// Decimal digits behind an optional sign.
inline bool read_int(std::string_view text, int32_t& out) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
  if (text.empty()) return false;
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
    if (value > int64_t{INT32_MAX} + 1) return false;
  }
  if (negative) value = -value;
  if (value > INT32_MAX) return false;
  out = static_cast<int32_t>(value);
  return true;
}

inline PropertyResult bad(const char* reason) { return {PropertyOutcome::bad_value, reason}; }

inline PropertyResult set_number(Options& options, const Number& row, std::string_view value) {
  int32_t number = 0;
  if (!read_int(value, number)) return bad("not a whole number of 32 bits");
  if (number < row.min) return bad(row.min == 0 ? "must not be negative" : "must be at least 1");
  options.*row.field = number;
  return {};
}

inline PropertyResult set_flag(Options& options, const Flag& row, std::string_view value) {
  const bool on = same_word(value, "true");
  if (!on && !same_word(value, "false")) return bad("must be true or false");
  options.*row.field = on;
  return {};
}

inline PropertyResult check_protocol(std::string_view value) {
  if (same_word(value, "plaintext")) return {};
  if (same_word(value, "ssl") || same_word(value, "sasl_ssl")) return kNoTls;
  if (same_word(value, "sasl_plaintext")) return kNoSasl;
  return bad("must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL");
}

// Every address of a name is tried in any case.
inline PropertyResult check_lookup(std::string_view value) {
  if (same_word(value, "use_all_dns_ips")) return {};
  if (same_word(value, "resolve_canonical_bootstrap_servers_only")) {
    return {PropertyOutcome::rejected, "kshare looks up no canonical names: they are for Kerberos"};
  }
  return bad("must be use_all_dns_ips");
}
inline PropertyResult check_recovery(std::string_view value) {
  if (same_word(value, "rebootstrap")) return {};
  if (same_word(value, "none")) {
    return {PropertyOutcome::rejected,
            "kshare always goes back to bootstrap.servers when no broker is left"};
  }
  return bad("must be rebootstrap");
}

// An enumeration of two words.
template <typename Enum>
PropertyResult set_choice(Enum& field, std::string_view value, std::string_view first,
                          std::string_view second, const char* reason) {
  const bool is_second = same_word(value, second);
  if (!is_second && !same_word(value, first)) return bad(reason);
  field = static_cast<Enum>(is_second);
  return {};
}
inline PropertyResult set_unusable(Unusable& field, std::string_view value) {
  return set_choice(field, value, "release", "reject", "must be release or reject");
}

// True if `name` is one of those that are set by a word; `result` has the answer then.
inline bool set_word(Options& options, std::string_view name, std::string_view value,
                     PropertyResult& result) {
  if (name == "share.acknowledgement.mode") {
    result = set_choice(options.acknowledgement_mode, value, "implicit", "explicit",
                        "must be implicit or explicit");
  } else if (name == "share.acquire.mode") {
    result = set_choice(options.acquire_mode, value, "batch_optimized", "record_limit",
                        "must be batch_optimized or record_limit");
  } else if (name == "record.too.large") {
    result = set_unusable(options.too_large, value);
  } else if (name == "batch.undecodable") {
    result = set_unusable(options.undecodable, value);
  } else if (name == "security.protocol") {
    result = check_protocol(value);
  } else if (name == "client.dns.lookup") {
    result = check_lookup(value);
  } else if (name == "metadata.recovery.strategy") {
    result = check_recovery(value);
  } else {
    return false;
  }
  return true;
}

inline bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.back() != '*') return name == pattern;
  pattern.remove_suffix(1);
  return name.size() >= pattern.size() && std::string_view{name.data(), pattern.size()} == pattern;
}

}  // namespace property

// Sets the option that Kafka calls `name`. Spaces around a value do not count; its case only in
// texts.
inline PropertyResult set(Options& options, std::string_view name, std::string_view value) {
  value = property::trimmed(value);
  for (const auto& row : property::kTexts) {
    if (row.name != name) continue;
    options.*row.field = value;
    return {};
  }
  for (const auto& row : property::kNumbers) {
    if (row.name == name) return property::set_number(options, row, value);
  }
  for (const auto& row : property::kFlags) {
    if (row.name == name) return property::set_flag(options, row, value);
  }
  PropertyResult result;
  if (property::set_word(options, name, value, result)) return result;
  for (const auto& row : property::kAnswers) {
    if (property::matches(row.name, name)) return row.result;
  }
  return {PropertyOutcome::unknown, "no such property"};
}

}  // namespace kshare

#endif  // KSHARE_CORE_PROPERTIES_HPP
