// SPDX-License-Identifier: Apache-2.0
// What:        Address: host and port of a broker, and the entries of bootstrap.servers.
// Flow:        Options::bootstrap_servers -> here -> core/control.hpp.
// Memory:      views into the list.
// Errors:      is_valid_bootstrap() is asked once, by start(); the entries are sound behind it.
#ifndef KSHARE_CORE_ADDRESS_HPP
#define KSHARE_CORE_ADDRESS_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/bytes.hpp"

namespace kshare {

struct Address {
  std::string_view host;
  uint16_t port = 0;
};

// "host:port"; a host that is too long is cut. Answers the length, at most `room` (6 at least).
inline uint32_t write_address(char* to, uint32_t room, const Address& where) {
  char digits[5];
  uint32_t count = 0;
  for (uint32_t port = where.port; port != 0; port /= 10) {
    digits[count++] = static_cast<char>('0' + port % 10);
  }
  uint32_t size = copy_text(to, room - 6, where.host);
  to[size++] = ':';
  while (count != 0) to[size++] = digits[--count];
  return size;
}

// Letters, digits and what stands in names, IPv4 and IPv6 addresses and zone ids; not the "//" of a
// URL, nor a wrong separator.
inline bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_' || c == ':' || c == '%';
}

// Entry `index` of "host:port,[::1]:port"; an empty host if there is none or it makes no sense.
inline Address bootstrap_entry(std::string_view list, uint32_t index) {
  const char* at = list.data();
  const char* const end = at + list.size();
  for (;; ++at) {
    const char* stop = at;
    while (stop != end && *stop != ',') ++stop;
    if (index-- == 0) {
      while (at != stop && *at == ' ') ++at;
      while (at != stop && stop[-1] == ' ') --stop;
      const char* colon = stop;
      uint32_t port = 0;
      uint32_t scale = 1;
      while (colon != at && colon[-1] >= '0' && colon[-1] <= '9' && scale <= 10000) {
        --colon;
        port += static_cast<uint32_t>(*colon - '0') * scale;
        scale *= 10;
      }
      if (colon - at < 2 || colon[-1] != ':' || port == 0 || port > UINT16_MAX) return {};
      const char* host_end = colon - 1;
      if (*at == '[' && host_end[-1] == ']') {
        ++at;
        --host_end;
      }
      for (const char* c = at; c != host_end; ++c) {
        if (!is_host_character(*c)) return {};
      }
      if (at == host_end) return {};
      return {{at, static_cast<size_t>(host_end - at)}, static_cast<uint16_t>(port)};
    }
    if (stop == end) return {};
    at = stop;
  }
}

inline uint32_t bootstrap_count(std::string_view list) {
  uint32_t count = list.empty() ? 0 : 1;
  for (char c : list) count += c == ',' ? 1 : 0;
  return count;
}

inline bool is_valid_bootstrap(std::string_view list) {
  const uint32_t count = bootstrap_count(list);
  for (uint32_t i = 0; i < count; ++i) {
    if (bootstrap_entry(list, i).host.empty()) return false;
  }
  return count != 0;
}

}  // namespace kshare

#endif  // KSHARE_CORE_ADDRESS_HPP
