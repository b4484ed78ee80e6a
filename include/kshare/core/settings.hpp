// SPDX-License-Identifier: Apache-2.0
// What:        checks the options of start() and copies their texts.
// Flow:        Options -> here -> Shared::options, whose views lie in Storage.
// Memory:      Storage's text fields.
// Errors:      bad_option, too_long; Shared::words says which option and what is right.
#ifndef KSHARE_CORE_SETTINGS_HPP
#define KSHARE_CORE_SETTINGS_HPP

#include <cstdint>
#include <string_view>

#include "kshare/core/address.hpp"
#include "kshare/core/shared.hpp"
#include "kshare/core/storage.hpp"

namespace kshare {
namespace settings {

inline Errc bad(Shared& shared, const char* words) {
  shared.say(words);
  return Errc::bad_option;
}
inline bool keep(std::string_view& text, Span<char> room) {
  if (text.size() > room.size) return false;
  text = {room.data, copy_text(room.data, room.size, text)};
  return true;
}

}  // namespace settings

inline Errc keep_options(const Options& options, const Memory& memory, Shared& shared) {
  shared.options = options;
  Options& kept = shared.options;
  if (options.group_id.empty()) return settings::bad(shared, "group.id is missing");
  if (!is_valid_bootstrap(options.bootstrap_servers)) {
    return settings::bad(shared,
                         "bootstrap.servers: give host:port, or several with commas between");
  }
  if (!settings::keep(kept.bootstrap_servers, memory.bootstrap) ||
      !settings::keep(kept.group_id, memory.group_id) ||
      !settings::keep(kept.client_id, memory.client_id) ||
      !settings::keep(kept.client_rack, memory.client_rack)) {
    shared.say("bootstrap.servers, group.id, client.id or client.rack is longer than its limit");
    return Errc::too_long;
  }
  if (options.max_poll_records < 1 || options.fetch_min_bytes < 0 || options.fetch_max_bytes < 1 ||
      options.fetch_max_wait_ms < 0) {
    return settings::bad(shared, "max.poll.records, fetch.min.bytes, fetch.max.bytes or "
                                 "fetch.max.wait.ms is out of range");
  }
  if (options.request_timeout_ms < 1 || options.connection_setup_timeout_ms < 1 ||
      options.retry_backoff_ms < 1 || options.retry_backoff_max_ms < options.retry_backoff_ms ||
      options.reconnect_backoff_ms < 1 || options.metadata_max_age_ms < 1 ||
      options.rebootstrap_trigger_ms < 1 ||
      options.reconnect_backoff_max_ms < options.reconnect_backoff_ms ||
      options.ack_linger_ms < 0 || options.lock_margin_ms < 0) {
    return settings::bad(shared, "a time-out or back-off is out of range (each at least 1 ms, a "
                                 "maximum not below its start)");
  }
  return Errc::ok;
}

}  // namespace kshare

#endif  // KSHARE_CORE_SETTINGS_HPP
