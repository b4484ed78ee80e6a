// SPDX-License-Identifier: Apache-2.0
// What:        addresses of Linux sockets: numeric ones out of text, and as the kernel takes them.
// Flow:        part of net/posix_tcp.hpp and of net/dns.hpp.
// Memory:      the caller's.
// Errors:      false: not a numeric address.
#ifndef KSHARE_NET_POSIX_ADDRESS_HPP
#define KSHARE_NET_POSIX_ADDRESS_HPP

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/net/resolver.hpp"

namespace kshare::posix {

inline bool same_address(const Address& a, const Address& b) {
  return a.v6 == b.v6 && a.scope == b.scope && std::memcmp(a.octets, b.octets, 16) == 0;
}

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

// Fills `to`; answers how many bytes of it connect() wants.
inline socklen_t socket_address(const Address& address, uint16_t port, SocketAddress& to) {
  std::memset(&to, 0, sizeof to);
  if (address.v6) {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(port);
    to.v6.sin6_scope_id = address.scope;
    std::memcpy(&to.v6.sin6_addr, address.octets, 16);
    return sizeof to.v6;
  }
  to.v4.sin_family = AF_INET;
  to.v4.sin_port = htons(port);
  std::memcpy(&to.v4.sin_addr, address.octets, 4);
  return sizeof to.v4;
}

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
