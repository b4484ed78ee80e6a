// SPDX-License-Identifier: Apache-2.0
// What:        numeric addresses of Linux sockets, out of text.
// Flow:        part of net/posix.hpp.
// Memory:      the caller's.
// Errors:      false: not a numeric address.
#ifndef KSHARE_NET_POSIX_ADDRESS_HPP
#define KSHARE_NET_POSIX_ADDRESS_HPP

#include <arpa/inet.h>
#include <net/if.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace kshare::posix {

// An address that a socket takes: parse_address() makes one of text, a resolver of a name.
struct Address {
  uint8_t octets[16] = {};  // IPv4: the first four
  uint32_t scope = 0;       // IPv6: the interface's index, for link-local addresses
  bool v6 = false;
};

// Numeric text to an address; false for anything else. Only an interface's name is looked up.
inline bool parse_address(std::string_view text, Address& out) {
  char buffer[64];
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    text.remove_prefix(1);
    text.remove_suffix(1);
  }
  if (text.size() >= sizeof buffer) return false;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  if (std::strlen(buffer) != text.size()) return false;
  out = Address{};
  if (inet_pton(AF_INET, buffer, out.octets) == 1) return true;
  out.v6 = true;
  char* const percent = std::strchr(buffer, '%');
  if (percent == nullptr) return inet_pton(AF_INET6, buffer, out.octets) == 1;
  *percent = '\0';
  uint64_t scope = 0;
  const char* digit = percent + 1;
  for (; *digit >= '0' && *digit <= '9' && scope <= UINT32_MAX; ++digit) {
    scope = scope * 10 + static_cast<uint64_t>(*digit - '0');
  }
  if (*digit != '\0') scope = if_nametoindex(percent + 1);
  if (scope == 0 || scope > UINT32_MAX) return false;
  out.scope = static_cast<uint32_t>(scope);
  return inet_pton(AF_INET6, buffer, out.octets) == 1;
}

}  // namespace kshare::posix

#endif  // KSHARE_NET_POSIX_ADDRESS_HPP
