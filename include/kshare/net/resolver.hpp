// SPDX-License-Identifier: Apache-2.0
// What:        Resolver: the interface between Tcp and whatever makes addresses of names; Address,
//              what it gives.
// Flow:        net/posix_tcp.hpp <-> Resolver <- net/dns.hpp, or the application's own: c-ares, a
//              static table, getaddrinfo (which blocks and needs the heap).
// Memory:      the implementer's.
// Valid until: it must outlive the pool that uses it.
// Errors:      Status with Errc::name_not_found, lookup_failed, bad_address, too_long, too_many or
//              no_entropy; kshare reports it and tries again after a back-off.
//
// The contract: nothing here calls back, one thread, and nothing should block. Tcp calls
//   open      with a name that is neither numeric nor localhost; the view is gone afterwards. done:
//             address() answers. pending: call advance(). failed: there is no lookup to close. The
//             number that names the lookup is the resolver's choice.
//   advance   while pending, when interest() is met and at its `due`.
//   address   once done: 0, 1, ... in the order in which they are to be tried; false behind the
//             last. The first kAddressesMax are used. The order stays until close().
//   interest  while pending: what to wait for, and until when. Lookups must not share a descriptor,
//             and a new one needs a new generation.
//   close     once for each open() that has not failed. `winner` is the address that could be
//             connected to, -1 if none could, or if nobody wants it any more.
#ifndef KSHARE_NET_RESOLVER_HPP
#define KSHARE_NET_RESOLVER_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/time.hpp"
#include "kshare/net/transport.hpp"

namespace kshare::posix {

// An address that a socket takes: parse_address() makes one of text, a resolver of a name.
struct Address {
  uint8_t octets[16] = {};  // IPv4: the first four
  uint32_t scope = 0;       // IPv6: the interface's index, for link-local addresses
  bool v6 = false;
};

class Resolver {
 public:
  static constexpr uint32_t kAddressesMax = 8;

  virtual IoResult open(std::string_view name, Instant now, uint16_t& lookup) = 0;
  virtual IoResult advance(uint16_t lookup, Instant now) = 0;
  virtual bool address(uint16_t lookup, uint32_t i, Address& out) const = 0;
  virtual Interest interest(uint16_t lookup) const = 0;
  virtual void close(uint16_t lookup, int32_t winner) = 0;

 protected:
  ~Resolver() = default;
};

}  // namespace kshare::posix

#endif  // KSHARE_NET_RESOLVER_HPP
