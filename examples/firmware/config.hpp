// SPDX-License-Identifier: Apache-2.0
// What:        the configuration: kshare's limits, chosen here, and a properties file.
// Flow:        file -> read_config() -> Config -> ShareConsumer::start(), subscribe(), the loop.
// Memory:      kConfigBytes for the file's text, which stays: all texts are views into it.
// Errors:      every wrong line is told with its number and what to do; false then.
//
// A line is NAME=VALUE, or empty, or a comment behind # or !. Java's files know more (colons,
// escapes, lines that go on in the next one): that is not read here, and refused where it would
// mean something else.
#ifndef GATEWAY_CONFIG_HPP
#define GATEWAY_CONFIG_HPP

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "kshare/core/address.hpp"
#include "kshare/core/limits.hpp"
#include "kshare/core/properties.hpp"
#include "log.hpp"

namespace gateway {

// All RAM of the consumer is decided here; kshare's README says what each limit is for.
inline constexpr kshare::Limits kLimits = [] {
  kshare::Limits limits = kshare::kSmallLimits;
  limits.links_max = 3;
  limits.store_slots = 3;
  limits.store_bytes = 3 * 8192;  // records of up to 8 KiB
  limits.records_max = 128;
  limits.partitions_max = 32;
  limits.topics_max = 4;
  return limits;
}();

inline constexpr uint32_t kConfigBytes = 4096;

struct Config {
  kshare::Options options;
  std::string_view topics[kLimits.topics_max];  // topics
  uint32_t topic_count = 0;
  const char* watchdog_device = nullptr;  // watchdog.device
  int32_t watchdog_feed_ms = 5000;        // watchdog.feed.ms
  int32_t status_ms = 60000;              // status.interval.ms
  int32_t restart_ms = 5000;              // restart.backoff.ms: before a failed start is repeated;
  int32_t restart_max_ms = 60000;         // restart.backoff.max.ms: doubled each time up to this
  int32_t close_ms = 5000;                // close.timeout.ms
};

struct OwnNumber {
  std::string_view name;
  int32_t Config::*field;
};
inline constexpr OwnNumber kOwnNumbers[] = {
    {"watchdog.feed.ms", &Config::watchdog_feed_ms},
    {"status.interval.ms", &Config::status_ms},
    {"restart.backoff.ms", &Config::restart_ms},
    {"restart.backoff.max.ms", &Config::restart_max_ms},
    {"close.timeout.ms", &Config::close_ms},
};

class ConfigReader {
 public:
  ConfigReader(const char* path, Config& into) : path_(path), config_(into) {}

  // `text` has room for a NUL behind its end.
  bool read(char* text, uint32_t size) {
    for (uint32_t at = 0; at < size;) {
      uint32_t end = at;
      while (end < size && text[end] != '\n') ++end;
      text[end] = '\0';
      ++number_;
      take(text + at, end - at);
      at = end + 1;
    }
    number_ = 0;  // what follows belongs to no line
    if (config_.options.bootstrap_servers.empty()) wrong("bootstrap.servers", "is missing");
    if (config_.options.group_id.empty()) wrong("group.id", "is missing");
    if (config_.topic_count == 0) wrong("topics", "is missing: name at least one");
    return sound_;
  }

 private:
  void take(char* text, uint32_t size) {
    const std::string_view line = kshare::property::trimmed({text, size});
    if (line.empty() || line[0] == '#' || line[0] == '!') return;
    if (line.back() == '\\') return wrong(line, "write it in one line, without '\\' at its end");
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) return wrong(line, "write NAME=VALUE, or # before it");
    const std::string_view name = kshare::property::trimmed({line.data(), equals});
    std::string_view value = line;
    value.remove_prefix(equals + 1);
    value = kshare::property::trimmed(value);
    text[value.data() + value.size() - text] = '\0';  // was a blank or the line's end
    set(name, value);
  }

  void set(std::string_view name, std::string_view value) {
    if (name == "topics") return set_topics(value);
    if (name == "watchdog.device") {
      if (value.empty() || value[0] != '/') return wrong(name, "give a path such as /dev/watchdog");
      config_.watchdog_device = value.data();  // take() has put a NUL behind it
      return;
    }
    for (const OwnNumber& row : kOwnNumbers) {
      if (row.name != name) continue;
      int32_t number = 0;
      if (!kshare::property::read_int(value, number) || number < 1) {
        return wrong(name, "give a whole number of milliseconds, at least 1");
      }
      config_.*row.field = number;
      return;
    }
    set_option(name, value);
  }

  void set_option(std::string_view name, std::string_view value) {
    if (name == "bootstrap.servers" && !kshare::is_valid_bootstrap(value)) {
      return wrong(name, "give HOST:PORT, or several with commas between");
    }
    kshare::Options& options = config_.options;
    const auto result = kshare::set(options, name, value);
    if (result.outcome == kshare::PropertyOutcome::unknown) {
      return wrong(name, "no such property: correct the name, or take the line out");
    }
    if (result.outcome == kshare::PropertyOutcome::rejected) {
      return wrong(name, result.reason, "; take the line out");
    }
    if (!result.ok()) return wrong(name, result.reason);
    if (result.outcome == kshare::PropertyOutcome::no_effect) {
      say(Level::notice, name, "has no effect: ", result.reason);
    }
    if (name == "share.acknowledgement.mode" &&
        options.acknowledgement_mode != kshare::AckMode::explicit_mode) {
      wrong(name, "this program says itself what becomes of a record: take the line out");
    }
  }

  void set_topics(std::string_view list) {
    config_.topic_count = 0;
    uint32_t bytes = 0;
    for (bool more = true; more;) {
      const size_t comma = list.find(',');
      more = comma != std::string_view::npos;
      const std::string_view topic =
          kshare::property::trimmed({list.data(), more ? comma : list.size()});
      if (more) list.remove_prefix(comma + 1);
      bytes += static_cast<uint32_t>(topic.size());
      if (topic.empty() || topic.size() > 249) {
        return wrong("topics", "give names of 1 to 249 letters with commas between");
      }
      if (config_.topic_count == kLimits.topics_max || bytes > kLimits.topic_names_bytes) {
        return wrong("topics", "too many: raise topics_max and topic_names_bytes in config.hpp");
      }
      config_.topics[config_.topic_count++] = topic;
    }
  }

  void wrong(std::string_view name, const char* what, const char* then = "") {
    sound_ = false;
    say(Level::error, name, what, then);
  }
  void say(Level level, std::string_view name, const char* what, const char* then) {
    Line line(level);
    line << path_ << ":";
    if (number_ != 0) line << number_ << ":";
    line << " " << name << ": " << what << then;
  }

  const char* path_;
  Config& config_;
  int32_t number_ = 0;
  bool sound_ = true;
};

// Reads the whole file into `text`.
inline bool read_config(const char* path, char (&text)[kConfigBytes + 1], Config& config) {
  uint32_t size = 0;
  int error = 0;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) error = errno;
  while (error == 0 && size <= kConfigBytes) {
    const ssize_t count = ::read(fd, text + size, sizeof text - size);
    if (count == 0) break;
    if (count > 0) size += static_cast<uint32_t>(count);
    else if (errno != EINTR) error = errno;
  }
  if (fd >= 0) static_cast<void>(::close(fd));
  if (error != 0) Line(Level::error) << path << ": cannot be read: errno " << error;
  if (size > kConfigBytes) {
    Line(Level::error) << path << ": larger than " << int64_t{kConfigBytes}
                       << " bytes: shorten it, or raise kConfigBytes in config.hpp";
  }
  if (error != 0 || size > kConfigBytes) return false;
  if (!ConfigReader(path, config).read(text, size)) return false;
  config.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  return true;
}

}  // namespace gateway

#endif  // GATEWAY_CONFIG_HPP
